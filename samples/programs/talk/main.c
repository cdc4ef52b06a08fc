/* talk STEP...: does with the files of /wayfare what its arguments say, one after the other. For tests.
 * talk run FILE [WITH]: the same with the lines of a file, as an interpreter of it; WITH stands for '%' in them.
 *
 *   say LINES    writes these to `out`, in one piece
 *   bit LINES    the same, three bytes at a time
 *   hear N       prints N lines of `in`, read five bytes at a time
 *   poll MS      prints whether `in` has something within that time
 *   cat PATH     prints a file, read two bytes at a time
 *   put PATH TEXT
 *   rm PATH
 *   ls PATH
 *
 * What fails is printed with its error, and the next step is done.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int in, out;

static void failed(const char *what) { printf("%s: %s\n", what, strerror(errno)); }

static void say(const char *text, size_t piece) {
  size_t left = strlen(text);
  while (left > 0) {
    ssize_t written = write(out, text, left < piece ? left : piece);
    if (written < 0) return failed("out");
    text += written;
    left -= (size_t)written;
  }
}

static void hear(int lines) {
  char piece[5];
  while (lines > 0) {
    ssize_t got = read(in, piece, sizeof piece);
    if (got <= 0) return failed("in");
    fwrite(piece, 1, (size_t)got, stdout);
    if (piece[got - 1] == '\n') lines--;
  }
  fflush(stdout);
}

static void await(int timeout_ms) {
  struct pollfd waits = {.fd = in, .events = POLLIN};
  int ready = poll(&waits, 1, timeout_ms);
  printf("%s\n", ready < 0 ? strerror(errno) : ready == 0 ? "nothing" : "something");
}

static void cat(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) return failed(path);
  char piece[2];
  ssize_t got;
  while ((got = read(file, piece, sizeof piece)) > 0) fwrite(piece, 1, (size_t)got, stdout);
  if (got < 0) failed(path);
  fflush(stdout);
  close(file);
}

static void put(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0) return failed(path);
  if (write(file, text, strlen(text)) < 0) failed(path);
  close(file);
}

static void ls(const char *path) {
  DIR *folder = opendir(path);
  if (folder == NULL) return failed(path);
  struct dirent *entry;
  errno = 0;
  while ((entry = readdir(folder)) != NULL) {
    if (entry->d_name[0] != '.') printf("%s%s\n", entry->d_name, entry->d_type == DT_DIR ? "/" : "");
  }
  if (errno != 0) failed(path);
  closedir(folder);
}

/* One step; whether it took the second operand too. */
static int step(const char *what, const char *with, const char *more) {
  if (strcmp(what, "say") == 0) say(with, strlen(with));
  else if (strcmp(what, "bit") == 0) say(with, 3);
  else if (strcmp(what, "hear") == 0) hear(atoi(with));
  else if (strcmp(what, "poll") == 0) await(atoi(with));
  else if (strcmp(what, "cat") == 0) cat(with);
  else if (strcmp(what, "rm") == 0) { if (unlink(with) != 0) failed(with); }
  else if (strcmp(what, "ls") == 0) ls(with);
  else if (strcmp(what, "put") == 0 && more != NULL) { put(with, more); return 1; }
  return 0;
}

/* A file's lines: a step, a blank, and the rest of the line; `say` is said with its newline. */
static int run(const char *path, const char *with) {
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    fprintf(stderr, "talk: %s: %s\n", path, strerror(errno));
    return 1;
  }
  char line[1024];
  while (fgets(line, sizeof line, file) != NULL) {
    char *rest = strchr(line, ' ');
    if (rest == NULL) continue;
    *rest++ = '\0';
    if (strcmp(line, "say") != 0) rest[strcspn(rest, "\n")] = '\0';
    step(line, strcmp(rest, "%") == 0 ? with : rest, NULL);
  }
  fclose(file);
  return 0;
}

int main(int argc, char **argv) {
  in = open("/wayfare/in", O_RDONLY);
  out = open("/wayfare/out", O_WRONLY);
  if (in < 0 || out < 0) {
    failed("/wayfare");
    return 1;
  }
  if (argc > 2 && strcmp(argv[1], "run") == 0) return run(argv[2], argc > 3 ? argv[3] : "");
  for (int i = 1; i + 1 < argc; i += 2) i += step(argv[i], argv[i + 1], i + 2 < argc ? argv[i + 2] : NULL);
  return 0;
}
