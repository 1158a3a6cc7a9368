// The files behind the mappings of the process, by the id that a snapshot has for them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "guests/linux/vfs/host_file.h"

namespace stasis::linux_guest {

class TmpfsMapping;

// Resource. Holds no file by itself, except what load() found until the memory has asked for it.
class MappingRegistry {
 public:
  // The mapping of the file that `descriptor` has open; the same one as long as any is in use.
  [[nodiscard]] SysOr<std::shared_ptr<const MappedFile>> of_host_file(
      const std::string& path, const std::shared_ptr<const UniqueFd>& descriptor);
  [[nodiscard]] std::uint64_t next_id() { return ++last_id_; }
  void add(const std::shared_ptr<const MappedFile>& file) { files_[file->snapshot_id()] = file; }
  [[nodiscard]] std::shared_ptr<const MappedFile> find(std::uint64_t id) const;
  [[nodiscard]] std::vector<std::shared_ptr<const MappedFile>> in_use() const;

  // What a load found again, kept until release_loaded().
  void keep_loaded(std::shared_ptr<const MappedFile> file);
  void release_loaded() { loaded_.clear(); }
  void clear();
  [[nodiscard]] std::uint64_t last_id() const { return last_id_; }
  void set_last_id(std::uint64_t id) { last_id_ = id; }

 private:
  std::map<std::uint64_t, std::weak_ptr<const MappedFile>> files_;
  std::vector<std::shared_ptr<const MappedFile>> loaded_;
  std::uint64_t last_id_ = 0;
};

}  // namespace stasis::linux_guest
