// SPDX-License-Identifier: Apache-2.0
// Names and colours of classes as the text files that viewers read.
#pragma once

#include <cstddef>
#include <string>

#include <samed/volume/label_table.hpp>

namespace samed {

/// Colour table of 3D Slicer (`.ctbl`): label, name without blanks, red, green, blue, opacity.
inline std::string slicer_colour_table(LabelTable const& table) {
    std::string out = "# Color table file\n";
    for (std::size_t label = 0; label < table.rows().size(); ++label) {
        auto const& row = table.rows()[label];
        std::string name = row.name;
        for (char& c : name)
            if (c == ' ' || c == '\t') c = '_';
        out += std::to_string(label) + ' ' + name;
        for (int c : row.colour) out += ' ' + std::to_string(c);
        out += label == 0 ? " 0\n" : " 255\n";
    }
    return out;
}

/// Label descriptions of ITK-SNAP: label, red, green, blue, opacity, visible, mesh, "name".
inline std::string itksnap_labels(LabelTable const& table) {
    std::string out = "# ITK-SnAP Label Description File\n";
    for (std::size_t label = 0; label < table.rows().size(); ++label) {
        auto const& row = table.rows()[label];
        std::string name = row.name;
        for (char& c : name)
            if (c == '"') c = '\'';
        out += std::to_string(label);
        for (int c : row.colour) out += ' ' + std::to_string(c);
        out += label == 0 ? " 0 0 0 " : " 1 1 1 ";
        out += '"' + (label == 0 ? std::string("Clear Label") : name) + "\"\n";
    }
    return out;
}

}  // namespace samed
