/* once <from> <to>: passes each message on once, for receivers that know nothing of Wayfare.
 *
 * What a program publishes again after a crash has the id that it had before, and a program is not handed what has an id that came
 * before. What is published here is plain: the payload alone, as any MQTT client expects it. A message that begins with "end" is passed on
 * too, and ends the program.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "wayfare.h"

/* The longest topic, the longest reply topic and the largest payload that can come. */
enum { ROOM = sizeof(struct wayfare_message) + 2 * 1024 + 120 * 1024 };

static _Alignas(struct wayfare_message) uint8_t buffer[ROOM];

static const char *why(int32_t error) {
  switch (error) {
    case 2: return "the broker refused the subscription";
    case 28: return "not a topic or filter";
    case 35:
    case 61: return "a message is too large";
    case 76: return "not granted to this program";
    default: return "an unexpected error";
  }
}

static int failed(const char *what, int32_t error) {
  fprintf(stderr, "once: %s: %s (%d)\n", what, why(error), (int)error);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: once <from> <to>\n");
    return 2;
  }
  const char *from = argv[1], *to = argv[2];
  int32_t error = wayfare_subscribe(from, strlen(from), WAYFARE_AT_LEAST_ONCE);
  if (error != 0) return failed(from, error);
  /* For a manifest with "health"; engines of earlier releases refuse it, and it runs all the same. */
  wayfare_ready();
  printf("from %s to %s, once\n", from, to);
  fflush(stdout);
  for (uint64_t count = 1;; count++) {
    uint32_t length;
    error = wayfare_receive(-1, buffer, sizeof buffer, &length);
    if (error != 0) return failed(from, error);
    struct wayfare_message message;
    memcpy(&message, buffer, sizeof message);
    const uint8_t *payload = buffer + sizeof message + message.topic_bytes + message.reply_to_bytes;
    error = wayfare_publish(to, strlen(to), payload, message.payload_bytes, WAYFARE_AT_LEAST_ONCE | WAYFARE_PLAIN);
    if (error != 0) return failed(to, error);
    if (message.payload_bytes >= 3 && memcmp(payload, "end", 3) == 0) {
      printf("%llu messages\n", (unsigned long long)count);
      return 0;
    }
  }
}
