#include "guests/linux/vfs/tmpfs_inode.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace stasis::linux_guest {

bool TmpfsSpace::take(std::uint64_t bytes) {
  if (is_limited_ && (bytes > bytes_max_ || used_ > bytes_max_ - bytes)) {
    return false;
  }
  used_ += bytes;
  return true;
}

InodePointer TmpfsInode::make(const std::shared_ptr<TmpfsSpace>& space, std::uint32_t mode) {
  if (!space->take(kTmpfsInodeCost)) {
    return nullptr;
  }
  InodePointer inode(new TmpfsInode(space));
  inode->number = space->next_number();
  inode->mode = mode;
  inode->accessed_ns = inode->modified_ns = inode->changed_ns = space->now_ns();
  return inode;
}

TmpfsInode::~TmpfsInode() {
  space_->give_back(kTmpfsInodeCost + (pages_.size() * kPageBytes) +
                    (entries_.size() * kTmpfsInodeCost));
  // Not by recursion: the guest decides how deep its folders are.
  std::vector<InodePointer> doomed;
  const auto take_entries = [&doomed](TmpfsInode& folder) {
    for (auto& [entry_name, inode] : folder.entries_) {
      doomed.push_back(std::move(inode));
    }
  };
  take_entries(*this);
  while (!doomed.empty()) {
    const InodePointer last = std::move(doomed.back());
    doomed.pop_back();
    if (last != nullptr && last.use_count() == 1) {
      take_entries(*last);
    }
  }
}

SysResult TmpfsInode::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_) {
    return 0;
  }
  const std::uint64_t wanted = std::min<std::uint64_t>(out.size(), size_ - offset);
  std::uint64_t done = 0;
  while (done < wanted) {
    const std::uint64_t at = offset + done;
    const std::uint64_t in_page = at % kPageBytes;
    const std::uint64_t count = std::min(wanted - done, kPageBytes - in_page);
    const std::span<const std::byte> page = content(at / kPageBytes);
    if (page.empty()) {
      std::memset(&out[done], 0, count);
    } else {
      std::memcpy(&out[done], page.data() + in_page, count);
    }
    done += count;
  }
  return static_cast<SysResult>(done);
}

std::span<const std::byte> TmpfsInode::content(std::uint64_t index) const {
  if (shared_ != nullptr) {
    if (const auto page = shared_->view(index); !page.empty()) {
      return page;
    }
  }
  const auto found = pages_.find(index);
  return found == pages_.end() ? std::span<const std::byte>() : std::span(*found->second);
}

// Beyond the end is what the process has written there, which nobody can see again.
void TmpfsInode::put_back(std::uint64_t index, std::span<const std::byte> page) {
  if (index < (size_ + kPageBytes - 1) / kPageBytes) {
    static_cast<void>(set_page(index, page));  // It was reserved; a snapshot may lie.
  }
}

TmpfsInode::Page* TmpfsInode::page_for_write(std::uint64_t index) {
  const auto found = pages_.find(index);
  if (found != pages_.end()) {
    return found->second.get();
  }
  if (!space_->take(kPageBytes)) {
    return nullptr;
  }
  return (pages_[index] = std::make_unique<Page>()).get();
}

SysResult TmpfsInode::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > kTmpfsFileBytesMax || bytes.size() > kTmpfsFileBytesMax - offset) {
    return -EFBIG;
  }
  std::uint64_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t in_page = at % kPageBytes;
    const std::uint64_t count = std::min(bytes.size() - done, kPageBytes - in_page);
    Page* const page = page_for_write(at / kPageBytes);
    if (page == nullptr) {
      break;
    }
    std::memcpy(page->data() + in_page, &bytes[done], count);
    if (shared_ != nullptr) {
      if (const auto shown = shared_->to_write(at / kPageBytes); !shown.empty()) {
        std::memcpy(&shown[in_page], &bytes[done], count);
      }
    }
    done += count;
  }
  if (done == 0 && !bytes.empty()) {
    return -ENOSPC;
  }
  size_ = std::max(size_, offset + done);
  touch();
  return static_cast<SysResult>(done);
}

void TmpfsInode::zero(std::uint64_t begin, std::uint64_t end) {
  if (shared_ != nullptr) {
    shared_->zero(begin, end);
  }
  const auto first = pages_.find(begin / kPageBytes);
  if (first != pages_.end() && begin % kPageBytes != 0) {
    const std::uint64_t in_page = begin % kPageBytes;
    std::memset(first->second->data() + in_page, 0, std::min(end - begin, kPageBytes - in_page));
  }
  const auto last = pages_.find(end / kPageBytes);
  if (last != pages_.end() && begin / kPageBytes != end / kPageBytes) {
    std::memset(last->second->data(), 0, end % kPageBytes);
  }
  const std::uint64_t whole_begin = (begin + kPageBytes - 1) / kPageBytes;
  const std::uint64_t whole_end = end / kPageBytes;
  auto at = pages_.lower_bound(whole_begin);
  while (at != pages_.end() && at->first < whole_end) {
    at = pages_.erase(at);
    space_->give_back(kPageBytes);
  }
}

SysResult TmpfsInode::truncate(std::uint64_t size_bytes) {
  if (size_bytes > kTmpfsFileBytesMax) {
    return -EFBIG;
  }
  if (size_bytes < size_) {
    // To the end of the last page, so that it is given back.
    zero(size_bytes, (size_ + kPageBytes - 1) / kPageBytes * kPageBytes);
  }
  size_ = size_bytes;
  touch();
  return 0;
}

void TmpfsInode::punch(std::uint64_t offset, std::uint64_t size_bytes) {
  const std::uint64_t end = offset + std::min(size_bytes, kTmpfsFileBytesMax);
  if (offset < size_) {
    zero(offset, end);
    touch();
  }
}

bool TmpfsInode::set_page(std::uint64_t index, std::span<const std::byte> content) {
  Page* const page = page_for_write(index);
  if (page != nullptr) {
    std::ranges::copy(content, page->begin());
  }
  return page != nullptr;
}

bool TmpfsInode::add_entry(const std::string& entry_name, const InodePointer& inode) {
  if (!space_->take(kTmpfsInodeCost)) {
    return false;
  }
  entries_[entry_name] = inode;
  ++inode->links;
  inode->changed_ns = space_->now_ns();
  touch();
  return true;
}

void TmpfsInode::remove_entry(const std::string& entry_name) {
  const auto found = entries_.find(entry_name);
  if (found == entries_.end()) {
    return;
  }
  --found->second->links;
  found->second->changed_ns = space_->now_ns();
  entries_.erase(found);
  space_->give_back(kTmpfsInodeCost);
  touch();
}

InodePointer TmpfsInode::entry(const std::string& entry_name) const {
  const auto found = entries_.find(entry_name);
  return found == entries_.end() ? nullptr : found->second;
}

bool TmpfsInode::is_directory() const {
  return S_ISDIR(mode);
}

void TmpfsInode::touch() {
  modified_ns = changed_ns = space_->now_ns();
}

FileStat TmpfsInode::stat() const {
  FileStat stat;
  stat.device = 0x20;
  stat.inode = number;
  stat.mode = mode;
  stat.links = is_directory() ? links + 1 : links;
  stat.user = user;
  stat.group = group;
  stat.size_bytes = S_ISLNK(mode) ? target.size() : is_directory() ? entries_.size() * 20 : size_;
  stat.blocks = pages_.size() * (kPageBytes / 512);
  stat.accessed_ns = accessed_ns;
  stat.modified_ns = modified_ns;
  stat.changed_ns = changed_ns;
  return stat;
}

}  // namespace stasis::linux_guest
