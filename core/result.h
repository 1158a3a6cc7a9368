// Result<T>: a T or an Error. The vocabulary of every fallible function in this project.
//
// The names are those of std::expected<T, Error>, so that the day our oldest toolchain has a
// usable one this file becomes an alias. Today it does not: libstdc++ 12 has no monadic
// operations and is not [[nodiscard]], and clang 14 cannot use it with non-trivial types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/check.h"

namespace stasis {

// What a caller may branch on. Anything finer belongs in the message.
enum class Errc : std::uint8_t {
  kInvalidArgument,  // The caller broke a documented precondition.
  kOutOfRange,       // A guest- or file-controlled address left its bounds.
  kNotSupported,     // The backend lacks this capability on this host.
  kCorruption,       // Stored bytes fail validation; retrying cannot help.
  kIo,               // The operating system refused; os_error says why.
  kBackend,          // The hypervisor refused; os_error holds its native code.
  kMismatch,         // Well-formed, but it does not fit: wrong parent, architecture, CPU feature.
  kNotFound,         // The named file, snapshot or guest program does not exist.
  kAlreadyExists,    // Refused to overwrite.
  kTimeout,          // A bounded wait ended before what was waited for happened.
  kGuestFault,       // The guest program failed: unhandled exception, shutdown, self-check.
};

std::string_view name_of(Errc code);

struct Error {
  Errc code = Errc::kInvalidArgument;
  int os_error = 0;
  std::string message = {};

  // Reads outside-in: "restore 'a.snap': manifest: Message ends prematurely".
  [[nodiscard]] Error with_context(std::string_view context) &&;
  [[nodiscard]] std::string to_string() const;
};

Error errno_error(int os_error, std::string_view context);

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;  // NOLINT(readability-identifier-naming): std::expected's name.

  // Implicit on purpose: `return value;` and `return Error{...};` are the whole idiom.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T& value() & {
    STASIS_CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    STASIS_CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    STASIS_CHECK(has_value());
    return std::move(*std::get_if<0>(&state_));
  }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    STASIS_CHECK(!has_value());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    STASIS_CHECK(!has_value());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }

  const Error& error() const& {
    STASIS_CHECK(!has_value());
    return *error_;
  }
  Error&& error() && {
    STASIS_CHECK(!has_value());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace stasis

#define STASIS_CONCAT_INNER(a, b) a##b
#define STASIS_CONCAT(a, b) STASIS_CONCAT_INNER(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses): `decl` is a declaration, it cannot be parenthesised.

// Returns the error of `expr` from the enclosing function, if there is one.
#define STASIS_TRY(expr)                               \
  do {                                                 \
    if (auto stasis_result = (expr); !stasis_result) { \
      return std::move(stasis_result).error();         \
    }                                                  \
  } while (false)

// STASIS_ASSIGN(auto fd, open_file(path));
#define STASIS_ASSIGN(decl, expr) \
  STASIS_ASSIGN_INNER(STASIS_CONCAT(stasis_result_, __LINE__), decl, expr)
#define STASIS_ASSIGN_INNER(result, decl, expr) \
  auto result = (expr);                         \
  if (!result) {                                \
    return std::move(result).error();           \
  }                                             \
  decl = *std::move(result)

// NOLINTEND(bugprone-macro-parentheses)
