import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Records of a topic byte for byte, by Kafka's own client: `scripts/kafka put NAME` and `scripts/kafka get NAME`.
 *
 * A line a record. To put: key, value, headers; got: partition, offset, key, value, headers; tab-separated. Bytes are base64, and
 * `-` is null; headers are `name=value`, separated by `;`.
 */
class Records {
  public static void main(String[] arguments) throws Exception {
    if (arguments[0].equals("put")) put(arguments[1], arguments[2]);
    else get(arguments[1], arguments[2]);
  }

  static byte[] bytes(String text) {
    return text.equals("-") ? null : Base64.getDecoder().decode(text);
  }

  static String text(byte[] bytes) {
    return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
  }

  static void put(String bootstrap, String topic) throws Exception {
    var properties = new Properties();
    properties.putAll(Map.of("bootstrap.servers", bootstrap, "linger.ms", "20", "compression.type", "lz4"));
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    var failures = new ArrayList<Exception>();
    try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (String line; (line = lines.readLine()) != null; ) {
        String[] parts = line.split("\t", -1);
        var record = new ProducerRecord<>(topic, bytes(parts[0]), bytes(parts[1]));
        for (String header : parts[2].isEmpty() ? new String[0] : parts[2].split(";")) {
          int equals = header.indexOf('=');
          record.headers().add(header.substring(0, equals), bytes(header.substring(equals + 1)));
        }
        producer.send(record, (written, failure) -> {
          if (failure != null) synchronized (failures) { failures.add(failure); }
        });
      }
    }
    if (!failures.isEmpty()) throw failures.get(0);
  }

  static void get(String bootstrap, String topic) {
    var properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    var out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.US_ASCII);
    try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = new ArrayList<>();
      for (PartitionInfo info : consumer.partitionsFor(topic)) partitions.add(new TopicPartition(topic, info.partition()));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          var headers = new StringBuilder();
          for (Header header : record.headers()) {
            headers.append(headers.length() == 0 ? "" : ";").append(header.key()).append('=').append(text(header.value()));
          }
          out.printf("%d\t%d\t%s\t%s\t%s%n", record.partition(), record.offset(), text(record.key()), text(record.value()), headers);
        }
      }
    }
    out.flush();
  }
}
