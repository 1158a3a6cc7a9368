// The frame of a report's page: what it looks like on a screen and on paper.
#pragma once

#include <string>
#include <string_view>

namespace stasis::experiments {

// A complete document around `body`, which is HTML. `title` is text.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace stasis::experiments
