// {fmt}'s own functions as a static library: fmt/format-inl.h is what its library is made of. Only
// with STASIS_STATIC_PROGRAM.
#include <fmt/format-inl.h>

// Declared "extern template" in fmt/format.h.
template auto fmt::detail::thousands_sep_impl<char>(fmt::detail::locale_ref)
    -> fmt::detail::thousands_sep_result<char>;
template auto fmt::detail::decimal_point_impl(fmt::detail::locale_ref) -> char;
