// The names of cells that checks and floors refer to.
#include <fmt/format.h>

#include "experiments/restore_latency/cells.h"

namespace stasis::experiments {

std::string bare_kvm_id(std::uint64_t mib) {
  return "floor/bare_kvm/" + size_name(mib);
}
std::string pread_floor_id(const Sizes& sizes) {
  return "floor/pread/" + size_name(sizes.small_mib);
}
std::string lz4_floor_id(const Sizes& sizes) {
  return "floor/lz4/" + size_name(sizes.small_mib);
}
std::string save_floor_id(const Sizes& sizes) {
  return "floor/save/" + size_name(sizes.middle_mib);
}
std::string lazy_id(std::uint64_t mib) {
  return touching_id("lazy", mib, 0, CacheState::kWarm);
}
std::string touching_id(const std::string& policy, std::uint64_t mib, std::uint32_t percent,
                        CacheState cache) {
  return fmt::format("restore/{}/{}/touch{}/{}", policy, size_name(mib),
                     percent == 0 ? "-one" : std::to_string(percent), name_of(cache));
}
std::string eager_id(const Sizes& sizes, std::uint32_t threads, bool verify) {
  return fmt::format("restore/eager/{}/t{}{}", size_name(sizes.small_mib), threads,
                     verify ? "" : "/unverified");
}
std::string eager_lz4_id(const Sizes& sizes, std::uint32_t threads, bool verify) {
  return fmt::format("restore/eager-lz4/{}/t{}{}", size_name(sizes.small_mib), threads,
                     verify ? "" : "/unverified");
}
std::string save_full_id(const Sizes& sizes, std::uint32_t threads, bool sync) {
  return fmt::format("save/full/{}/t{}{}", size_name(sizes.middle_mib), threads,
                     sync ? "/sync" : "");
}
std::string save_diff_id(const Sizes& sizes, std::uint32_t percent, Spread spread) {
  return fmt::format("save/diff{}/{}/dirty{}", spread == Spread::kScattered ? "-scattered" : "",
                     size_name(sizes.small_mib), percent);
}

}  // namespace stasis::experiments
