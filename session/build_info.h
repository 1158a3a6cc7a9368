// What this build is: every number and every snapshot names it.
#pragma once

#include <string>
#include <string_view>

namespace stasis::session {

std::string_view version();  // "0.1.0"
std::string_view
commit();  // Twelve hexadecimal digits, "+" when the tree had changes, or "unknown".
std::string_view build_type();  // "RelWithDebInfo"; with the sanitizers, if any.
std::string_view compiler();    // "GNU 12.2.0"
std::string creator();          // "stasis 0.1.0 (0123456789ab, RelWithDebInfo)", as in manifests.

}  // namespace stasis::session
