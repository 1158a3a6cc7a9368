#include "cli/command.h"
#include "cli/interrupt.h"

int main(int argc, char** argv) {
  stasis::cli::install_signal_handlers();
  return stasis::cli::run_program(argc, argv);
}
