// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/train/trainer.hpp>

namespace samed::tool {

/// What a run was like: one row a step, one a validation.
class TrainingCurve {
public:
    static constexpr std::size_t step_columns = 6;  ///< step, loss, cross entropy, Dice loss, learning rate, gradient norm

    explicit TrainingCurve(int classes) : classes_(static_cast<std::size_t>(classes)) {}

    void add(train::StepReport const& report);
    /// @param dice  of classes 1.., after `step` steps
    void add_validation(int step, std::vector<double> const& dice);

    /// Rows as flat arrays, for a checkpoint: [steps, 6]; [validations, 1 + classes].
    std::vector<float>& steps() { return steps_; }
    std::vector<float>& validations() { return validations_; }
    std::size_t validation_columns() const { return 1 + classes_; }

    /// Mean loss of the steps from `first` on.
    double mean_loss(int first) const;

    /// `stem`.csv, a validation in the row of its last step, and `stem`.png: loss in blue, mean DSC in green, both from 0 at the
    /// bottom to 1 or the largest loss.
    /// @errors io_failure
    Result<void> write(std::string const& stem) const;

private:
    std::size_t classes_;
    std::vector<float> steps_, validations_;
};

}  // namespace samed::tool
