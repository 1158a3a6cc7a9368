#include "guests/linux/vm/shared_file.h"

#include <algorithm>
#include <utility>

namespace stasis::linux_guest::vm {

SharedFile::SharedFile(std::shared_ptr<const MappedFile> file, GuestRam& ram)
    : file_(std::move(file)), ram_(ram) {
  file_->share(this);
}

SharedFile::~SharedFile() {
  file_->share(nullptr);
}

std::optional<Gpa> SharedFile::find(std::uint64_t index) const {
  const auto found = pages_.find(index);
  return found == pages_.end() ? std::nullopt : std::optional(found->second.frame);
}

void SharedFile::add(std::uint64_t index, Gpa frame) {
  const auto [at, is_new] = pages_.try_emplace(index, Page{frame, 0});
  // The tables of a damaged snapshot may show one page in two frames: the first is the page.
  at->second.entries += static_cast<std::uint64_t>(at->second.frame == frame);
}

bool SharedFile::remove(std::uint64_t index, Gpa frame) {
  const auto found = pages_.find(index);
  if (found == pages_.end() || found->second.frame != frame || --found->second.entries != 0) {
    return false;
  }
  file_->put_back(index, ram_.view(frame, kPageBytes));
  pages_.erase(found);
  return true;
}

std::span<const std::byte> SharedFile::view(std::uint64_t index) const {
  const auto frame = find(index);
  return frame ? ram_.view(*frame, kPageBytes) : std::span<const std::byte>();
}

std::span<std::byte> SharedFile::to_write(std::uint64_t index) {
  const auto frame = find(index);
  return frame ? ram_.to_write(*frame, kPageBytes) : std::span<std::byte>();
}

void SharedFile::zero(std::uint64_t begin, std::uint64_t end) {
  for (auto at = pages_.lower_bound(begin / kPageBytes);
       at != pages_.end() && at->first * kPageBytes < end; ++at) {
    const std::uint64_t page = at->first * kPageBytes;
    const std::uint64_t from = std::max(page, begin);
    ram_.zero({at->second.frame + (from - page), std::min(page + kPageBytes, end) - from});
  }
}

}  // namespace stasis::linux_guest::vm
