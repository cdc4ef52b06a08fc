/* lines <from> <to>: passes messages on, numbered, through the files of /wayfare alone, as any language can.
 *
 * A message's text is passed on as it stands in its line, so nothing of JSON is read but where that text begins and ends. A message
 * that begins with "end" ends the program, which leaves its count under the key "count".
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what) {
  perror(what);
  return 1;
}

/* The text of the field `name` in a line, as it stands there between its quotes; NULL if it has none. */
static char *field(char *line, const char *name) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "\"%s\":\"", name);
  char *start = strstr(line, quoted);
  if (start == NULL) return NULL;
  start += strlen(quoted);
  char *end = start;
  while (*end != '"' && *end != '\0') end += *end == '\\' && end[1] != '\0' ? 2 : 1;
  return strndup(start, (size_t)(end - start));
}

static int is(char *line, const char *name, const char *value) {
  char *found = field(line, name);
  int same = found != NULL && strcmp(found, value) == 0;
  free(found);
  return same;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: lines <from> <to>\n");
    return 2;
  }
  FILE *in = fopen("/wayfare/in", "r"), *out = fopen("/wayfare/out", "w");
  if (in == NULL || out == NULL) return failed("/wayfare");
  fprintf(out, "{\"do\":\"subscribe\",\"filter\":\"%s\",\"id\":1}\n", argv[1]);

  char *line = NULL;
  size_t room = 0;
  unsigned long count = 0;
  while (getline(&line, &room, in) > 0) {
    if (is(line, "event", "answer")) {
      printf("from %s to %s\n", argv[1], argv[2]);
    } else if (is(line, "event", "moved")) {
      char *engine = field(line, "engine");
      printf("now on %s\n", engine == NULL ? "?" : engine);
      free(engine);
    } else if (is(line, "event", "error")) {
      fprintf(stderr, "lines: %s", line);
      return 1;
    } else {
      char *text = field(line, "payload");
      fprintf(out, "{\"do\":\"publish\",\"topic\":\"%s\",\"payload\":\"%s %lu\"}\n", argv[2], text == NULL ? "" : text, ++count);
      int is_end = text != NULL && strncmp(text, "end", 3) == 0;
      free(text);
      if (is_end) break;
    }
  }
  FILE *kept = fopen("/wayfare/state/count", "w");
  if (kept == NULL || fprintf(kept, "%lu\n", count) < 0 || fclose(kept) != 0) return failed("/wayfare/state/count");
  printf("%lu messages\n", count);
  free(line);
  return 0;
}
