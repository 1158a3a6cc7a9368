// Names that people type, and lists of them in messages.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace stasis {

// The one of `names` that `word` was probably meant to be: at most two letters more, fewer or other
// ones. Empty if none is as near. Views into `names`.
std::string_view closest_name(std::string_view word, std::span<const std::string_view> names);
// "a, b, c".
std::string join_names(std::span<const std::string_view> names);

}  // namespace stasis
