#include "session/session_impl.h"

namespace stasis::session::internal {

Result<std::unique_ptr<DeviceBus>> make_devices(Architecture architecture,
                                                const std::shared_ptr<ConsoleBuffer>& console,
                                                std::shared_ptr<guests::DoorbellDevice>& doorbell) {
  guests::DoorbellConfig config;
  config.architecture = architecture;
  config.console = [console](std::string_view text) { console->append(text); };
  doorbell = std::make_shared<guests::DoorbellDevice>(std::move(config));
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(guests::attach_doorbell(*bus, doorbell, architecture));
  return bus;
}

}  // namespace stasis::session::internal
