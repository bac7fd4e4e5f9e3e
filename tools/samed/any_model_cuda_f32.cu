// SPDX-License-Identifier: Apache-2.0
#include <samed/any_model_cuda.cuh>

template struct samed::detail::AnyCuda<float>;
