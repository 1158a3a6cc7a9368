#include "stasis_function.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kRequestBytesMax = 65536, kResponseBytesMax = 4096, kNameBytesMax = 64 };

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  return 1;
}

/* Reads a line; of one that is too long, the beginning, and drops the rest. Not fgets(): a 0 in the
   line would look like its end. False at the end of the requests. */
static bool read_request(FILE* requests, char* line, size_t size) {
  size_t length = 0;
  int character = getc(requests);
  if (character == EOF)
    return false;
  for (; character != EOF && character != '\n'; character = getc(requests)) {
    if (length + 1 < size)
      line[length++] = (char)character;
  }
  line[length] = '\0';
  return true;
}

int stasis_serve(stasis_handler handle) {
  const char* path = getenv("STASIS_DEVICE");
  if (path == NULL)
    path = "/dev/stasis";
  /* Two streams: one would have to be repositioned between reading and writing (C11 7.21.5.3). */
  FILE* requests = fopen(path, "r");
  FILE* responses = fopen(path, "w");
  if (requests == NULL || responses == NULL)
    return fail(path);
  static char line[kRequestBytesMax];
  static char response[kResponseBytesMax];
  while (read_request(requests, line, sizeof line)) {
    handle(line, response, sizeof response);
    if (fprintf(responses, "%s\n", response) < 0 || fflush(responses) != 0)
      return fail(path);
  }
  return 0;
}

/* What follows `"name":` and blanks, or NULL. */
static const char* find_member(const char* request, const char* name) {
  char quoted[kNameBytesMax + 3];
  snprintf(quoted, sizeof quoted, "\"%s\"", name);
  const char* found = strstr(request, quoted);
  if (found == NULL)
    return NULL;
  found += strlen(quoted);
  found += strspn(found, " \t");
  if (*found != ':')
    return NULL;
  return found + 1 + strspn(found + 1, " \t");
}

bool stasis_text(const char* request, const char* name, char* value, size_t size) {
  const char* begin = find_member(request, name);
  if (begin == NULL || *begin != '"')
    return false;
  const char* end = begin + 1;
  while (*end >= ' ' && *end <= '~' && *end != '"' && *end != '\\')
    ++end;
  size_t length = (size_t)(end - begin) - 1;
  if (*end != '"' || length >= size)
    return false;
  memcpy(value, begin + 1, length);
  value[length] = '\0';
  return true;
}

bool stasis_integer(const char* request, const char* name, uint64_t least, uint64_t most,
                    uint64_t* value) {
  const char* begin = find_member(request, name);
  if (begin == NULL || *begin < '0' || *begin > '9')
    return false;
  char* end = NULL;
  errno = 0;
  *value = strtoull(begin, &end, 10);
  return errno == 0 && strchr(",} \t", *end) != NULL && *value >= least && *value <= most;
}
