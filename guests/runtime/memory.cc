// The functions that the compiler itself may call (GCC manual, "Standards": freestanding).
#include <cstddef>
#include <cstdint>

extern "C" {

#if defined(__x86_64__)
// REP MOVSB and STOSB are the fastest simple way since Ivy Bridge (Intel optimization manual,
// 3.7.6), and no compiler turns them back into a call of the function itself.
void* memcpy(void* to, const void* from, std::size_t size) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}

void* memset(void* to, int value, std::size_t size) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return result;
}
#else
// volatile keeps the compiler from recognising the loop and calling the function itself.
void* memcpy(void* to, const void* from, std::size_t size) {
  auto* out = static_cast<volatile unsigned char*>(to);
  const auto* in = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = in[i];
  }
  return to;
}

void* memset(void* to, int value, std::size_t size) {
  auto* out = static_cast<volatile unsigned char*>(to);
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = static_cast<unsigned char>(value);
  }
  return to;
}
#endif

void* memmove(void* to, const void* from, std::size_t size) {
  if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= size) {
    return memcpy(to, from, size);
  }
  auto* out = static_cast<volatile unsigned char*>(to);
  const auto* in = static_cast<const unsigned char*>(from);
  while (size-- > 0) {
    out[size] = in[size];
  }
  return to;
}

int memcmp(const void* a, const void* b, std::size_t size) {
  const auto* x = static_cast<const volatile unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  for (std::size_t i = 0; i < size; ++i) {
    if (const int difference = x[i] - y[i]; difference != 0) {
      return difference;
    }
  }
  return 0;
}

}  // extern "C"
