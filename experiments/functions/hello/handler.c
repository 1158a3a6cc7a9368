/* hello in C: what is left of a function when there is no interpreter. */
#include <stdio.h>

#include "stasis_function.h"

static void handle(const char* request, char* response, size_t size) {
  char name[65];
  if (stasis_text(request, "name", name, sizeof name)) {
    snprintf(response, size, "{\"text\":\"Hello, %s!\"}", name);
  } else {
    snprintf(response, size, "{\"error\":\"name: a string is wanted\"}");
  }
}

int main(void) {
  return stasis_serve(handle);
}
