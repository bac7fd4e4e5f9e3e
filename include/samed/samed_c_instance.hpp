// SPDX-License-Identifier: Apache-2.0
// Definitions of samed_c.h: include it in exactly one translation unit of a program.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <samed/any_model_instance.hpp>
#include <samed/samed_c.h>

struct samed_model {
    samed::AnyModel model;
};

namespace samed::detail {

static_assert(SAMED_IO_FAILURE == 1 + static_cast<int>(ErrorCode::io_failure) &&
                  SAMED_DEVICE_FAILURE == 1 + static_cast<int>(ErrorCode::device_failure),
              "samed_status lists the values of ErrorCode in their order");

inline samed_status report(Error const& failure, samed_error* error) {
    if (error) {
        std::string const message = failure.message();
        std::size_t const kept = std::min(message.size(), sizeof error->message - 1);
        std::memcpy(error->message, message.data(), kept);
        error->message[kept] = '\0';
    }
    return static_cast<samed_status>(1 + static_cast<int>(failure.code));
}

/// Runs `body`, which returns a Result<void>; no exception passes into C.
template <class Body>
samed_status c_call(samed_error* error, Body&& body) {
#if SAMED_HAS_EXCEPTIONS
    try {
#endif
        Result<void> const done = body();
        return done ? SAMED_OK : report(done.error(), error);
#if SAMED_HAS_EXCEPTIONS
    } catch (std::bad_alloc const&) {
        if (error) std::strcpy(error->message, "out_of_memory");
        return SAMED_OUT_OF_MEMORY;
    }
#endif
}

inline Result<void> hand_out(Result<AnyModel> opened, samed_model** model) {
    if (!opened) return opened.error();
    *model = new samed_model{*std::move(opened)};
    return {};
}

inline Result<void> check_c_image(samed_model const* model, float const* pixels, int height, int width, int channels,
                                  std::uint8_t const* out) {
    if (!model || !pixels || !out) return fail(ErrorCode::invalid_argument, "model, pixels or output", "a pointer", "null");
    if (height < 1 || width < 1 || (channels != 1 && channels != 3))
        return fail(ErrorCode::invalid_argument, "image", "at least one pixel of 1 or 3 channels",
                    text() << "[" << height << ", " << width << ", " << channels << "]");
    return {};
}

}  // namespace samed::detail

extern "C" {

samed_status samed_open(char const* path, int threads, samed_model** model, samed_error* error) {
    *model = nullptr;
    return samed::detail::c_call(error, [&] {
        samed::AnyOptions options;
        options.threads = threads;
        return samed::detail::hand_out(samed::AnyModel::open(path, options), model);
    });
}

samed_status samed_open_adapter(char const* base, char const* adapter, int threads, samed_model** model, samed_error* error) {
    *model = nullptr;
    return samed::detail::c_call(error, [&] {
        samed::AnyOptions options;
        options.threads = threads;
        return samed::detail::hand_out(samed::AnyModel::open(base, adapter, options), model);
    });
}

void samed_free(samed_model* model) {
    delete model;
}

int samed_class_count(samed_model const* model) {
    return static_cast<int>(model->model.summary().class_names.size());
}

char const* samed_class_name(samed_model const* model, int label) {
    auto const& names = model->model.summary().class_names;
    return label >= 1 && label <= static_cast<int>(names.size()) ? names[static_cast<std::size_t>(label - 1)].c_str() : nullptr;
}

samed_status samed_segment(samed_model const* model, float const* pixels, int height, int width, int channels, std::uint8_t* labels,
                           samed_error* error) {
    return samed::detail::c_call(error, [&]() -> samed::Result<void> {
        SAMED_CHECK(samed::detail::check_c_image(model, pixels, height, width, channels, labels));
        return model->model.segment(samed::interleaved(pixels, height, width, channels), {labels, {height, width}});
    });
}

samed_status samed_segment_box(samed_model const* model, float const* pixels, int height, int width, int channels, float const box[4],
                               std::uint8_t* mask, float* iou, samed_error* error) {
    return samed::detail::c_call(error, [&]() -> samed::Result<void> {
        SAMED_CHECK(samed::detail::check_c_image(model, pixels, height, width, channels, mask));
        if (!box) return samed::fail(samed::ErrorCode::invalid_argument, "box", "a pointer", "null");
        samed::AnyCall call;
        call.prompts.box = samed::Box{box[0], box[1], box[2], box[3]};
        SAMED_TRY(samed::AnyMasks const masks,
                  model->model.segment_masks(samed::interleaved(pixels, height, width, channels), false, call));
        std::copy(masks.masks.begin(), masks.masks.end(), mask);
        if (iou) *iou = masks.iou.front();
        return {};
    });
}

}  // extern "C"
