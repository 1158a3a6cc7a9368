#define KERNELS kChecksumKernels
#include "snapshot/checksum_kernels_code.h"
