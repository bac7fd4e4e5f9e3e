// SPDX-License-Identifier: Apache-2.0
// Runs both programs, compares what they print, and looks for wide registers in the baseline build.
#include <array>
#include <cstdio>
#include <string>

namespace {

std::string output_of(std::string const& command) {
    std::string text;
    FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) return text;
    std::array<char, 4096> piece{};
    while (std::size_t const n = fread(piece.data(), 1, piece.size(), pipe)) text.append(piece.data(), n);
    pclose(pipe);
    return text;
}

}  // namespace

int main(int, char** argv) {
    std::string const model = argv[1];
    std::string const here = std::string(argv[0]).substr(0, std::string(argv[0]).rfind('/') + 1);
    std::string const baseline = output_of(here + "baseline " + model), native = output_of(here + "native " + model);
    std::printf("baseline: %snative:   %s", baseline.c_str(), native.c_str());
    if (baseline.rfind("labels", 0) != 0 || baseline != native) return 1;

    // Weak symbols ("W", "V") of the baseline program, outside the library, whose code names a wide register.
    std::string const wide = output_of(
        "objdump -d --no-show-raw-insn " + here +
        "baseline | awk '/^[0-9a-f]+ </{name=substr($2,2,length($2)-3)} /%[yz]mm/{print name}' | sort -u > " + here + "wide.txt; nm " +
        here + "baseline | awk '$2 ~ /^[WVwv]$/{print $3}' | sort -u | comm -12 - " + here + "wide.txt | c++filt | grep -v 'samed::'");
    if (!wide.empty()) std::printf("wide registers outside the library:\n%s", wide.c_str());
    return !wide.empty();
}
