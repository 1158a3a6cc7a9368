// Strings for guests: a view, a bounded writer, and the words of a request. No allocation, no libc;
// the host's tests compile it too.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stasis::guest {

// Borrowed bytes. Value.
struct Text {
  const char* data = nullptr;
  std::size_t size = 0;

  constexpr Text() = default;
  constexpr Text(const char* bytes, std::size_t count) : data(bytes), size(count) {}
  // Of a literal or any NUL-terminated string.
  constexpr Text(const char* string) : data(string) {  // NOLINT(google-explicit-constructor)
    while (string[size] != '\0') {
      ++size;
    }
  }

  [[nodiscard]] constexpr bool empty() const { return size == 0; }
  [[nodiscard]] constexpr Text from(std::size_t begin) const {
    return begin > size ? Text() : Text(data + begin, size - begin);
  }
  [[nodiscard]] constexpr bool starts_with(Text prefix) const {
    return size >= prefix.size && Text(data, prefix.size) == prefix;
  }
  friend constexpr bool operator==(Text a, Text b) {
    if (a.size != b.size) {
      return false;
    }
    for (std::size_t i = 0; i < a.size; ++i) {
      if (a.data[i] != b.data[i]) {
        return false;
      }
    }
    return true;
  }
};

// A number with up to 16 hexadecimal digits, for Writer.
struct Hex {
  std::uint64_t value = 0;
  int digits = 16;
};

// Appends to a buffer of fixed size; what does not fit is dropped and remembered.
class Writer {
 public:
  constexpr Writer(char* buffer, std::size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  [[nodiscard]] constexpr std::size_t size() const { return size_; }
  [[nodiscard]] constexpr std::size_t space() const { return capacity_ - size_; }
  [[nodiscard]] constexpr bool overflowed() const { return overflowed_; }
  [[nodiscard]] constexpr Text text() const { return Text(buffer_, size_); }
  constexpr void clear() {
    size_ = 0;
    overflowed_ = false;
  }

  constexpr Writer& put(char c) {
    if (size_ == capacity_) {
      overflowed_ = true;
      return *this;
    }
    buffer_[size_++] = c;
    return *this;
  }
  constexpr Writer& put(Text text) {
    for (std::size_t i = 0; i < text.size; ++i) {
      put(text.data[i]);
    }
    return *this;
  }
  constexpr Writer& put(const char* string) { return put(Text(string)); }
  constexpr Writer& put(std::uint64_t number) {
    char digits[20] = {};
    std::size_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    while (count > 0) {
      put(digits[--count]);
    }
    return *this;
  }
  constexpr Writer& put(std::uint32_t number) { return put(std::uint64_t{number}); }
  constexpr Writer& put(int number) {
    if (number < 0) {
      put('-');
    }
    return put(static_cast<std::uint64_t>(number < 0 ? -std::int64_t{number} : number));
  }
  constexpr Writer& put(Hex hex) {
    for (int i = hex.digits - 1; i >= 0; --i) {
      put("0123456789abcdef"[hex.value >> (4 * i) & 15]);
    }
    return *this;
  }

  // `format` with each {} replaced by the next value.
  constexpr Writer& format(Text format) { return put(format); }
  template <typename First, typename... Rest>
  constexpr Writer& format(Text text, First first, Rest... rest) {
    for (std::size_t i = 0; i + 1 < text.size; ++i) {
      if (text.data[i] == '{' && text.data[i + 1] == '}') {
        put(Text(text.data, i));
        put(first);
        return format(text.from(i + 2), rest...);
      }
    }
    return put(text);
  }

 private:
  char* buffer_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  bool overflowed_ = false;
};

// Decimal digits only, no overflow; nothing else. `value` is untouched on failure.
constexpr bool parse_number(Text text, std::uint64_t& value) {
  std::uint64_t result = 0;
  if (text.empty()) {
    return false;
  }
  for (std::size_t i = 0; i < text.size; ++i) {
    const char c = text.data[i];
    if (c < '0' || c > '9') {
      return false;
    }
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (result > (UINT64_MAX - digit) / 10) {
      return false;
    }
    result = result * 10 + digit;
  }
  value = result;
  return true;
}

// Splits at single spaces and line ends.
class Words {
 public:
  explicit constexpr Words(Text text) : rest_(text) {}

  // Empty when there are no more.
  constexpr Text next() {
    while (!rest_.empty() && is_space(rest_.data[0])) {
      rest_ = rest_.from(1);
    }
    std::size_t size = 0;
    while (size < rest_.size && !is_space(rest_.data[size])) {
      ++size;
    }
    const Text word(rest_.data, size);
    rest_ = rest_.from(size);
    return word;
  }
  // What follows the last word and one space after it.
  [[nodiscard]] constexpr Text rest() const {
    return !rest_.empty() && is_space(rest_.data[0]) ? rest_.from(1) : rest_;
  }

 private:
  static constexpr bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }
  Text rest_;
};

// Finds "name=value" among the words of `text`; the last one counts.
constexpr Text option(Text text, Text name) {
  Text found;
  Words words(text);
  for (Text word = words.next(); !word.empty(); word = words.next()) {
    if (word.size > name.size && word.starts_with(name) && word.data[name.size] == '=') {
      found = word.from(name.size + 1);
    }
  }
  return found;
}

// As option(), a number. False, and `value` untouched, if it is there but not a number.
constexpr bool number_option(Text text, Text name, std::uint64_t& value) {
  const Text found = option(text, name);
  return found.data == nullptr || parse_number(found, value);
}

}  // namespace stasis::guest
