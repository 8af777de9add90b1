// fuzz_replay TARGET PATH...: feeds files, or all files of folders, to a target, one after the other. The last one
// named is the one that crashed. Needs no fuzzer: how `make test` runs the corpora. Exit status 2: nothing to feed.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/target.h"

namespace fs = std::filesystem;
using namespace regroup;

int main(int argc, char** argv) {
  const auto target = argc > 1 ? fuzz::targets().find(argv[1]) : fuzz::targets().end();
  if (target == fuzz::targets().end() || argc < 3) {
    std::fprintf(stderr, "usage: fuzz_replay TARGET FILE|FOLDER...\ntargets:");
    for (const auto& [name, run] : fuzz::targets()) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::vector<fs::path> files;
  for (int i = 2; i < argc; ++i) {
    if (!fs::is_directory(argv[i]))
      files.emplace_back(argv[i]);
    else
      for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return std::fprintf(stderr, "fuzz_replay: cannot open %s\n", file.c_str()), 2;
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    std::printf("%s (%zu bytes)\n", file.c_str(), bytes.size());
    std::fflush(stdout);
    target->second({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }
  std::printf("%s: %zu files\n", argv[1], files.size());
  return files.empty() ? 2 : 0;
}
