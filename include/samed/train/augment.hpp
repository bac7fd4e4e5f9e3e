// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>

#include <samed/image/image.hpp>
#include <samed/image/rounding.hpp>
#include <samed/train/random.hpp>

namespace samed::train {

/// What happens to an image and its labels before they are resized: half of the time a turn and a flip, else half of the time a
/// rotation by -20..19 degrees, else nothing.
/// @source SAMed's `RandomGenerator`
struct Augmentation {
    enum class Kind { none, turn_and_flip, rotate };

    Kind kind = Kind::none;
    int quarter_turns = 0, flip_axis = 0;
    int degrees = 0;

    static Augmentation draw(Random& random) {
        Augmentation a;
        if (random.uniform() > 0.5f) {
            a.kind = Kind::turn_and_flip;
            a.quarter_turns = random.below(4);
            a.flip_axis = random.below(2);
        } else if (random.uniform() > 0.5f) {
            a.kind = Kind::rotate;
            a.degrees = random.below(40) - 20;
        }
        return a;
    }

    bool swaps_sides() const { return kind == Kind::turn_and_flip && quarter_turns % 2 == 1; }
};

namespace detail {

/// numpy's rot90 (counterclockwise), then its flip, for one output pixel: where it comes from.
inline void turned_from(Augmentation const& a, int height, int width, int& row, int& column) {
    int const out_height = a.swaps_sides() ? width : height, out_width = a.swaps_sides() ? height : width;
    int const y = a.flip_axis == 0 ? out_height - 1 - row : row, x = a.flip_axis == 1 ? out_width - 1 - column : column;
    switch (a.quarter_turns) {
        case 1: row = x, column = width - 1 - y; break;
        case 2: row = height - 1 - y, column = width - 1 - x; break;
        case 3: row = height - 1 - x, column = y; break;
        default: row = y, column = x;
    }
}

}  // namespace detail

/// @param out   [H, W, channels], sides swapped where the augmentation says so
/// @param fill  behind the image's edge, where a rotation looks there
/// @source SciPy's `ndimage.rotate` with order 0 and the shape kept: about the centre, the nearest sample, halves upwards
template <class T>
void augment(Augmentation const& a, ImageView<T const> image, T fill, T* out) {
    int const height = a.swaps_sides() ? image.width : image.height, width = a.swaps_sides() ? image.height : image.width;
    double const angle = a.degrees * (3.14159265358979323846 / 180), cosine = std::cos(angle), sine = std::sin(angle);
    double const centre_y = (height - 1) / 2.0, centre_x = (width - 1) / 2.0;
    double const offset_y = centre_y - (rounded(cosine * centre_y) + rounded(sine * centre_x));
    double const offset_x = centre_x - (rounded(cosine * centre_x) - rounded(sine * centre_y));
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x, out += image.channels) {
            int row = y, column = x;
            bool inside = true;
            if (a.kind == Augmentation::Kind::turn_and_flip) detail::turned_from(a, image.height, image.width, row, column);
            if (a.kind == Augmentation::Kind::rotate) {
                double const from_y = rounded(cosine * y) + rounded(sine * x) + offset_y;
                double const from_x = rounded(cosine * x) - rounded(sine * y) + offset_x;
                inside = from_y >= 0 && from_y <= height - 1 && from_x >= 0 && from_x <= width - 1;
                row = static_cast<int>(std::floor(from_y + 0.5));
                column = static_cast<int>(std::floor(from_x + 0.5));
            }
            for (int c = 0; c < image.channels; ++c) out[c] = inside ? image(row, column, c) : fill;
        }
}

}  // namespace samed::train
