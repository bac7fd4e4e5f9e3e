// SPDX-License-Identifier: Apache-2.0
#include "training_curve.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <samed/io/file.hpp>

#include "picture.hpp"

namespace samed::tool {

namespace {

class Canvas {
public:
    static constexpr int height = 400, width = 800, margin = 20;

    Canvas() : pixels_(std::size_t(height) * width * 3, 255) {
        for (int tenth = 0; tenth <= 10; ++tenth) line(0, tenth / 10.0, 1, tenth / 10.0, {225, 225, 225});
        line(0, 0, 0, 1, {120, 120, 120});
        line(0, 0, 1, 0, {120, 120, 120});
    }
    /// Coordinates in [0, 1], y upwards.
    void line(double x0, double y0, double x1, double y1, std::array<std::uint8_t, 3> colour) {
        double const across = width - 2 * margin, up = height - 2 * margin;
        int const steps = 1 + static_cast<int>(std::max(std::fabs(x1 - x0) * across, std::fabs(y1 - y0) * up) * 2);
        for (int i = 0; i <= steps; ++i) {
            double const t = static_cast<double>(i) / steps;
            int const x = margin + static_cast<int>(std::lround((x0 + t * (x1 - x0)) * across));
            int const y = height - 1 - margin - static_cast<int>(std::lround((y0 + t * (y1 - y0)) * up));
            if (x >= 0 && x < width && y >= 0 && y < height)
                std::copy(colour.begin(), colour.end(), pixels_.begin() + (std::ptrdiff_t{y} * width + x) * 3);
        }
    }
    std::uint8_t const* pixels() const { return pixels_.data(); }

private:
    std::vector<std::uint8_t> pixels_;
};

}  // namespace

void TrainingCurve::add(train::StepReport const& r) {
    for (double v : {static_cast<double>(r.step), r.loss.total, r.loss.cross_entropy, r.loss.dice, r.learning_rate, r.gradient_norm})
        steps_.push_back(static_cast<float>(v));
}

void TrainingCurve::add_validation(int step, std::vector<double> const& dice) {
    validations_.push_back(static_cast<float>(step));
    for (double v : dice) validations_.push_back(static_cast<float>(v));
}

double TrainingCurve::mean_loss(int first) const {
    double sum = 0;
    std::size_t const rows = steps_.size() / step_columns, from = std::min(rows, static_cast<std::size_t>(first));
    for (std::size_t i = from; i < rows; ++i) sum += static_cast<double>(steps_[i * step_columns + 1]);
    return rows > from ? sum / static_cast<double>(rows - from) : 0;
}

Result<void> TrainingCurve::write(std::string const& stem) const {
    std::string csv = "step,loss,cross_entropy,dice_loss,learning_rate,gradient_norm,mean_dsc";
    for (std::size_t c = 1; c <= classes_; ++c) csv += ",dsc_" + std::to_string(c);
    csv += '\n';
    std::size_t const rows = steps_.size() / step_columns, width = validation_columns();
    Canvas canvas;
    float largest = 1;
    for (std::size_t i = 0; i < rows; ++i) largest = std::max(largest, steps_[i * step_columns + 1]);
    double const across = std::max<double>(1, static_cast<double>(rows) - 1);
    auto const number = [&csv](char const* format, double value) {
        char digits[40];
        std::snprintf(digits, sizeof digits, format, value);
        csv += digits;
    };
    double last_x = 0, last_dice = -1;
    std::size_t validation = 0;
    for (std::size_t i = 0; i < rows; ++i) {
        float const* const row = steps_.data() + i * step_columns;
        number("%.0f", static_cast<double>(row[0]));
        for (std::size_t k = 1; k < step_columns; ++k) number(",%.6g", static_cast<double>(row[k]));
        double const x = static_cast<double>(i) / across;
        if (i > 0)
            canvas.line(static_cast<double>(i - 1) / across,
                        static_cast<double>(row[1 - static_cast<std::ptrdiff_t>(step_columns)] / largest), x,
                        static_cast<double>(row[1] / largest), {31, 119, 180});
        float const* const dice = validations_.data() + validation * width;
        if ((validation + 1) * width <= validations_.size() && dice[0] <= row[0] + 1) {
            double mean = 0;
            for (std::size_t c = 1; c < width; ++c) mean += static_cast<double>(dice[c]) / static_cast<double>(width - 1);
            number(",%.4f", mean);
            for (std::size_t c = 1; c < width; ++c) number(",%.4f", static_cast<double>(dice[c]));
            if (last_dice >= 0) canvas.line(last_x, last_dice, x, mean, {44, 160, 44});
            last_x = x;
            last_dice = mean;
            ++validation;
        } else {
            csv.append(width, ',');
        }
        csv += '\n';
    }
    SAMED_TRY(AtomicFile file, AtomicFile::create(stem + ".csv"));
    SAMED_CHECK(file.write(csv));
    SAMED_CHECK(file.commit());
    return write_picture(stem + ".png", Canvas::height, Canvas::width, 3, canvas.pixels());
}

}  // namespace samed::tool
