// The framework's return codes as errors.
#pragma once

#include <string_view>

#include "core/result.h"

namespace stasis::hvf {

// `code` is an hv_return_t; nothing for HV_SUCCESS. kBackend unless told otherwise, with the code's
// name and meaning, and `what` was asked, if that is not empty.
Result<void> framework_result(int code, std::string_view what, Errc kind = Errc::kBackend);

}  // namespace stasis::hvf
