// A kernel structure that ends in an array, with room for a number of entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stasis::kvm {

// Resource of plain memory. `Header` is the structure without its array, `Entry` an element of it.
template <typename Header, typename Entry>
class FlexibleArray {
 public:
  explicit FlexibleArray(std::size_t entries)
      : words_((sizeof(Header) + entries * sizeof(Entry) + 7) / 8) {}

  // The structures are of implicit lifetime: they exist in the zeroed words.
  Header* get() noexcept { return reinterpret_cast<Header*>(words_.data()); }  // NOLINT
  Header* operator->() noexcept { return get(); }

 private:
  std::vector<std::uint64_t> words_;  // Zeroed, and aligned for every structure of KVM.
};

}  // namespace stasis::kvm
