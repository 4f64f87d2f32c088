import java.util.Scanner;
import org.apache.kafka.tools.AclCommand;

/** Runs Kafka's own kafka-acls for each line of standard input, all in one JVM, whose start is what takes long. */
public class Acls {
    public static void main(String[] arguments) {
        for (Scanner lines = new Scanner(System.in); lines.hasNextLine(); ) {
            AclCommand.main(lines.nextLine().split(" "));
        }
    }
}
