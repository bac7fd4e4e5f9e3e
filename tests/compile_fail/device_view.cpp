// SPDX-License-Identifier: Apache-2.0
// expect: Device
#include <samed/image/postprocess.hpp>

// Labels that lie on a device, handed to a function that writes host memory.
void write(samed::LabelMap labels);
void write_on_device(samed::ViewN<unsigned char, 2, samed::Device> labels) {
    write(labels);
}
