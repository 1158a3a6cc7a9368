// A kernel structure that ends in an array, with room for a number of entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace stasis::kvm {

// Resource of plain memory. `Header` is the structure without its array, `Entry` an element of it.
template <typename Header, typename Entry>
class FlexibleArray {
 public:
  explicit FlexibleArray(std::size_t entries)
      : words_((sizeof(Header) + entries * sizeof(Entry) + 7) / 8),
        header_(new (words_.data()) Header{}) {}

  Header* get() noexcept { return header_; }
  Header* operator->() noexcept { return header_; }

 private:
  std::vector<std::uint64_t> words_;  // Zeroed, and aligned for every structure of KVM.
  Header* header_;
};

}  // namespace stasis::kvm
