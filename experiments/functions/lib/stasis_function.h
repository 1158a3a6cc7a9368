/* The loop of a function in C: requests come as lines, and each gets one line back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the response to `request` (one line, ended by 0 in place of its line end) into `response`,
   without a line end, ended by 0, at most `size` bytes. Both belong to the caller. */
typedef void (*stasis_handler)(const char* request, char* response, size_t size);

/* Opens the device and answers until no further request comes. The exit code of the program: 0, or
   1 after a message on the standard error output when the device fails. */
int stasis_serve(stasis_handler handle);

/* The value of a member of a flat JSON object; false when it is absent or something else. They know
   as much JSON as the functions need: no nesting, and strings of printable ASCII without escapes.
 */
bool stasis_text(const char* request, const char* name, char* value, size_t size);
bool stasis_integer(const char* request, const char* name, uint64_t least, uint64_t most,
                    uint64_t* value);
