#define KERNELS kChecksumKernelsAvx512
#include "snapshot/checksum_kernels_code.h"
