// The descriptors of the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

struct Descriptor {
  std::shared_ptr<File> file;
  bool closes_on_exec = false;
};

constexpr int kDescriptorsMax = 4096;  // The hard limit; the soft one is RLIMIT_NOFILE.

// Resource.
class DescriptorTable {
 public:
  // Null: EBADF.
  [[nodiscard]] std::shared_ptr<File> get(int descriptor) const;
  [[nodiscard]] Descriptor* find(int descriptor);
  // The lowest free one that is at least `lowest`; EMFILE.
  [[nodiscard]] SysOr<int> add(Descriptor added, int lowest = 0);
  // In place of what was there, which is returned: EBADF beyond the limit.
  [[nodiscard]] SysResult replace(int descriptor, Descriptor added);
  [[nodiscard]] SysResult close(int descriptor);
  // Of a load: below kDescriptorsMax, whatever the limit is.
  void put_loaded(int descriptor, Descriptor loaded) {
    descriptors_[descriptor] = std::move(loaded);
  }
  [[nodiscard]] const std::map<int, Descriptor>& all() const { return descriptors_; }
  void clear() { descriptors_.clear(); }

  [[nodiscard]] int limit() const { return limit_; }
  void set_limit(std::uint64_t limit);

 private:
  std::map<int, Descriptor> descriptors_;
  int limit_ = 1024;
};

}  // namespace stasis::linux_guest
