import java.io.IOException;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/**
 * A node of OpenSearch without its distribution, for development. Its settings are arguments: NAME=VALUE.
 *
 * OpenSearch's own main class wants modules in folders, rights for each of them, and another user than root.
 */
final class OpenSearchNode extends Node {
    private OpenSearchNode(Settings settings) {
        super(new Environment(settings, null), List.of(Netty4Plugin.class), true);
    }

    public static void main(String[] arguments) throws Exception {
        Settings.Builder settings = Settings.builder();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        OpenSearchNode node = new OpenSearchNode(settings.build());
        Runtime.getRuntime().addShutdownHook(new Thread(node::end));
        node.start();
        new CountDownLatch(1).await();
    }

    private void end() {
        try {
            close();
        } catch (IOException error) {
            error.printStackTrace();
        }
    }
}
