// Which dirty trackers and restore policies work, with the reason for each that does not.
#pragma once

#include <vector>

#include "core/capabilities.h"

namespace stasis::session {

// On a backend with these capabilities; null: as far as can be said without one.
std::vector<Availability> list_trackers(const Capabilities* capabilities);
std::vector<Availability> list_policies(const Capabilities* capabilities);

}  // namespace stasis::session
