// Where there is no Linux KVM on x86-64.
#include "experiments/floor/bare_writer.h"
#include "experiments/floor/raw_trackers.h"

namespace stasis::experiments {

Result<std::unique_ptr<BareWriter>> BareWriter::create(std::span<std::byte> /*memory*/,
                                                       KernelLog /*log*/) {
  return Error{.code = Errc::kNotSupported,
               .message = "bare KVM writer: built without Linux KVM for x86-64"};
}

Result<std::unique_ptr<RawTracker>> make_raw_tracker(std::string_view /*mechanism*/,
                                                     std::span<std::byte> /*memory*/,
                                                     BareWriter& /*writer*/) {
  return Error{.code = Errc::kNotSupported,
               .message = "raw trackers: built without Linux KVM for x86-64"};
}

}  // namespace stasis::experiments
