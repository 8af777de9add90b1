// Flags of the *_perf programs.
#include "bench/arguments.h"

#include <catch2/catch.hpp>

using namespace regroup;
using namespace regroup::bench;

namespace {

Result<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "all_reduce_perf");
  return parse_arguments("all_reduce_perf", static_cast<int>(words.size()), words.data());
}

}  // namespace

TEST_CASE("nccl-tests' flags are read") {
  auto a = parse({"-b", "8",  "-e",       "128M", "-f",  "2",  "-n", "100", "-w", "7",  "-c",
                  "3",  "-d", "bfloat16", "-o",   "max", "-g", "1",  "-z",  "0",  "-J", "out.json"});
  REQUIRE(a.ok());
  CHECK(a->min_bytes == 8);
  CHECK(a->max_bytes == 128u << 20);
  CHECK(a->step_factor == 2);
  CHECK(a->iterations == 100);
  CHECK(a->warmup == 7);
  CHECK(a->checks == 3);
  CHECK(a->types == std::vector<DataType>{DataType::kBF16});
  CHECK(a->ops == std::vector<ReduceOp>{ReduceOp::kMax});
  CHECK(a->blocking == 0);
  CHECK(a->json == "out.json");
  CHECK(a->probe);
}

TEST_CASE("our own flags are read") {
  auto a = parse({"--ranks", "4", "--transport", "tcp", "--registered", "--no-commit", "--bind", "--no-probe", "--reps",
                  "9", "--seconds", "0.3"});
  REQUIRE(a.ok());
  CHECK(a->ranks == 4);
  CHECK(a->transport == "tcp");
  CHECK(a->registered);
  CHECK(a->no_commit);
  CHECK(a->bind);
  CHECK_FALSE(a->probe);
  CHECK(a->repetitions == 9);
  CHECK(a->seconds == 0.3);
}

TEST_CASE("the largest size is the smallest unless given") {
  auto a = parse({"-b", "4"});
  REQUIRE(a.ok());
  CHECK(sizes_of(*a, DataType::kF32) == std::vector<std::size_t>{4});
}

TEST_CASE("all types and all operations") {
  auto a = parse({"-d", "all", "-o", "all"});
  REQUIRE(a.ok());
  CHECK(a->types.size() == 10);
  CHECK(a->ops.size() == 5);
}

TEST_CASE("sizes grow by factor or by step, in whole elements, the last not beyond the largest") {
  auto a = parse({"-b", "4", "-e", "70", "-f", "2"});
  REQUIRE(a.ok());
  CHECK(sizes_of(*a, DataType::kF32) == std::vector<std::size_t>{4, 8, 16, 32, 64});
  CHECK(sizes_of(*a, DataType::kF64) == std::vector<std::size_t>{8, 16, 32, 64});
  a = parse({"-b", "1K", "-e", "4K", "-i", "1024"});
  REQUIRE(a.ok());
  CHECK(sizes_of(*a, DataType::kF32) == std::vector<std::size_t>{1024, 2048, 3072, 4096});
}

TEST_CASE("bad flags are refused with their name") {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{"--bogus"}, "--bogus"},       {{"-b", "16Q"}, "-b"},       {{"-d", "float128"}, "float128"},
      {{"-o", "xor"}, "xor"},         {{"-n", "0"}, "--iters"},    {{"-n", "many"}, "--iters"},
      {{"--ranks", "0"}, "--ranks"},  {{"-z", "2"}, "--blocking"}, {{"--transport", "ib"}, "ib"},
      {{"-b", "8", "-e", "4"}, "-e"}, {{"-e"}, "--maxbytes"},      {{"-b", "4", "-e", "8", "-i", "0"}, "-i"},
      {{"-g", "2"}, "--ngpus"},
  };
  for (const auto& [words, named] : cases) {
    auto a = parse(words);
    INFO(words[0] << " " << (words.size() > 1 ? words[1] : ""));
    REQUIRE_FALSE(a.ok());
    CHECK(a.code() == Code::kInvalid);
    CHECK(a.error().detail.find(named) != std::string::npos);
  }
}

TEST_CASE("help is a text, not an error") {
  auto a = parse({"--help"});
  REQUIRE(a.ok());
  CHECK(a->help.find("--stepfactor") != std::string::npos);
}
