#include "guests/linux/files/descriptor_table.h"

#include <errno.h>

#include <algorithm>

namespace stasis::linux_guest {

std::shared_ptr<File> DescriptorTable::get(int descriptor) const {
  const auto found = descriptors_.find(descriptor);
  return found == descriptors_.end() ? nullptr : found->second.file;
}

Descriptor* DescriptorTable::find(int descriptor) {
  const auto found = descriptors_.find(descriptor);
  return found == descriptors_.end() ? nullptr : &found->second;
}

SysOr<int> DescriptorTable::add(Descriptor added, int lowest) {
  int number = lowest;
  for (auto at = descriptors_.lower_bound(lowest); at != descriptors_.end() && at->first == number;
       ++at) {
    ++number;
  }
  if (number >= limit_) {
    return Errno{EMFILE};
  }
  descriptors_[number] = std::move(added);
  return number;
}

SysResult DescriptorTable::replace(int descriptor, Descriptor added) {
  if (descriptor < 0 || descriptor >= limit_) {
    return -EBADF;
  }
  static_cast<void>(close(descriptor));
  descriptors_[descriptor] = std::move(added);
  return descriptor;
}

SysResult DescriptorTable::close(int descriptor) {
  const auto found = descriptors_.find(descriptor);
  if (found == descriptors_.end()) {
    return -EBADF;
  }
  descriptors_.erase(found);
  return 0;
}

void DescriptorTable::set_limit(std::uint64_t limit) {
  limit_ = static_cast<int>(std::min<std::uint64_t>(limit, kDescriptorsMax));
}

}  // namespace stasis::linux_guest
