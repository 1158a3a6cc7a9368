// hello: prints a line, becomes ready, sends every request back.
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;

void guest_main(std::uint32_t vcpu) {
  if (vcpu != 0) {
    return;
  }
  guest::print("hello from a bare guest: {} vCPU(s), {} MiB of RAM, arguments \"{}\"\n",
               guest::boot_info().vcpu_count,
               (guest::boot_info().memory[0].end + guest::boot_info().memory[1].end -
                guest::boot_info().memory[1].begin) >>
                   20,
               guest::arguments());
  guest::serve([](guest::Text request, guest::Writer& response) { response.put(request); });
}
