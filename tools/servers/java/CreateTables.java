import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableExistsException;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.TableDescriptor;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.util.Bytes;

/**
 * Makes the tables that standard input asks for, one a line: NAME FAMILY REGIONS ATTRIBUTE=VALUE ...
 *
 * In Java, since the Thrift gateway cannot make a table of more than one region. Nothing is made when a line is wrong,
 * and a table that is there is left as it is. Exit code 1 and one line on standard error when something is in the way.
 */
public final class CreateTables {
    private record Wanted(TableDescriptor table, byte[][] splits) {}

    public static void main(String[] arguments) {
        try {
            create(new BufferedReader(new InputStreamReader(System.in)).lines().map(CreateTables::parse).toList());
        } catch (IllegalArgumentException | IOException error) {
            System.err.println(String.valueOf(error.getMessage()).lines().findFirst().orElse(error.toString()));
            System.exit(1);
        }
    }

    private static void create(Iterable<Wanted> all) throws IOException {
        try (var connection = ConnectionFactory.createConnection(HBaseConfiguration.create());
                var admin = connection.getAdmin()) {
            for (Wanted wanted : all) {
                TableName name = wanted.table.getTableName();
                System.out.println(name + (createOne(admin, wanted) ? " created" : " exists"));
            }
        }
    }

    private static boolean createOne(Admin admin, Wanted wanted) throws IOException {
        if (admin.tableExists(wanted.table.getTableName())) {
            return false;
        }
        try {
            admin.createTable(wanted.table, wanted.splits);
            return true;
        } catch (TableExistsException another) { // another client has created it meanwhile
            return false;
        }
    }

    private static Wanted parse(String line) {
        String[] words = line.strip().split("\\s+");
        var family = ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(words[1]));
        for (String attribute : Arrays.copyOfRange(words, 3, words.length)) {
            String[] pair = attribute.split("=", 2);
            if (!attributes().contains(pair[0])) { // HBase would take it, and do nothing
                throw new IllegalArgumentException(words[0] + ": no attribute " + pair[0] + "; there are " + attributes());
            }
            family.setValue(pair[0], pair[1]);
        }
        var table = TableDescriptorBuilder.newBuilder(TableName.valueOf(words[0])).setColumnFamily(family.build());
        return new Wanted(table.build(), splits(Integer.parseInt(words[2])));
    }

    private static Set<String> attributes() {
        var known = ColumnFamilyDescriptorBuilder.getDefaultValues().keySet().stream();
        return known.collect(Collectors.toCollection(TreeSet::new));
    }

    /** Even shares of the first byte of a row's key; null for one region. */
    private static byte[][] splits(int regions) {
        if (regions == 1) {
            return null;
        }
        var splits = new byte[regions - 1][];
        for (int i = 1; i < regions; i++) {
            splits[i - 1] = new byte[] {(byte) (i * 256 / regions)};
        }
        return splits;
    }
}
