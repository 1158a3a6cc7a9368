#include "snapshot/operations.h"
#include "snapshot/publication.h"

namespace stasis::snapshot {

Result<std::string> hide(FileSystem& file_system, const std::string& path) {
  return internal::withdraw(file_system, path);
}

void discard(FileSystem& file_system, const std::string& directory) {
  internal::discard(file_system, directory);
}

std::vector<std::string> leftovers_in(FileSystem& file_system, const std::string& directory) {
  return internal::leftovers_in(file_system, directory);
}

}  // namespace stasis::snapshot
