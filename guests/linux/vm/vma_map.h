// The process's mappings: which addresses exist, and as what.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guests/linux/address_space.h"

namespace stasis::linux_guest::vm {

// One mapping, [begin, end), page multiples. Value.
struct Vma {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  Protection protection = Protection::kNone;
  MapRequest::Sharing sharing = MapRequest::Sharing::kPrivate;
  bool may_write = false;  // As MapRequest has it.
  bool grows_down = false;
  std::shared_ptr<const MappedFile> file = {};  // Null: anonymous.
  std::uint64_t file_offset = 0;                // Of `begin`.
  std::string name = {};

  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  // Its pages are the file's, not its own (SharedFile).
  [[nodiscard]] bool shows_shared_pages() const {
    return sharing == MapRequest::Sharing::kShared && file != nullptr && file->can_be_shared();
  }
  [[nodiscard]] bool contains(std::uint64_t address) const {
    return address >= begin && address < end;
  }
};

// Disjoint mappings in address order. Neighbours that differ in nothing but their place are one.
// Value.
class VmaMap {
 public:
  // Nothing where nothing is mapped. The pointer is valid until the next change.
  [[nodiscard]] const Vma* find(std::uint64_t address) const;
  // The first that ends behind `address`.
  [[nodiscard]] const Vma* find_from(std::uint64_t address) const;
  [[nodiscard]] bool is_free(std::uint64_t begin, std::uint64_t end) const;
  [[nodiscard]] bool is_mapped(std::uint64_t begin, std::uint64_t end) const;  // Without a hole.
  // Where the highest hole of `size` bytes within [floor, ceiling) ends, minus `size`.
  [[nodiscard]] std::optional<std::uint64_t> find_hole(std::uint64_t size, std::uint64_t floor,
                                                       std::uint64_t ceiling) const;

  void insert(Vma vma);  // Its addresses must be free.
  // Takes [begin, end) out and returns what was there, cut at both ends.
  std::vector<Vma> remove(std::uint64_t begin, std::uint64_t end);

  [[nodiscard]] std::size_t size() const { return vmas_.size(); }
  [[nodiscard]] std::vector<Vma> all() const;

 private:
  void cut(std::uint64_t address);  // No mapping reaches across it afterwards.

  std::map<std::uint64_t, Vma> vmas_;  // By begin.
};

}  // namespace stasis::linux_guest::vm
