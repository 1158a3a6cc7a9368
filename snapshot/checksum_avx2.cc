#define KERNELS kChecksumKernelsAvx2
#include "snapshot/checksum_kernels_code.h"
