// Flags of the *_perf programs.
#include "bench/arguments.h"

#include <catch2/catch.hpp>

#include "bench/rows.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

Result<Arguments> parse(std::vector<const char*> words, const char* program = "all_reduce_perf") {
  words.insert(words.begin(), program);
  return parse_arguments(*find_collective(program), static_cast<int>(words.size()), words.data());
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
  CHECK(a->ops == std::vector<Reduction>{ReduceOp::kMax});
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

TEST_CASE("ranks as threads and buffers on a device are read") {
  auto a = parse({"--threads", "3", "--device", "host,late_us=200"});
  REQUIRE(a.ok());
  CHECK(a->threads == 3);
  CHECK(a->started() == 3);
  CHECK(a->device == "host,late_us=200");
  CHECK(where_of(*a) == Where::kDevice);
  CHECK(parse({"--ranks", "4"})->started() == 4);
  CHECK(where_of(*parse({"--registered"})) == Where::kRegistered);
  CHECK(parse({"--threads", "2", "-r", "2"}, "reduce_perf").error().detail.find("there are 2 ranks") != std::string::npos);
}

TEST_CASE("all flags that scripts give to nccl-tests are taken") {
  auto a = parse({"-t", "1", "-g", "1", "-p", "1", "-y", "0", "-G", "0",  "-C", "0", "-S", "0",
                  "-R", "1", "-m", "4", "-N", "2", "-u", "3", "-r", "-1", "-z", "3", "-T", "9"});
  REQUIRE(a.ok());
  CHECK(a->registered);
  CHECK(a->aggregate == 4);
  CHECK(a->cycles == 2);
  CHECK(a->unalign == 3);
  CHECK(a->root == -1);
  CHECK(a->blocking == 3);
  CHECK(a->timeout_s == 9);
}

TEST_CASE("cutting is read, and refused where a range is not the same collective") {
  auto a = parse({"--cut", "1M", "--grouped"});
  REQUIRE(a.ok());
  CHECK(a->cut_bytes == 1u << 20);
  CHECK(a->grouped);
  for (const char* program : {"broadcast_perf", "reduce_perf", "sendrecv_perf"})
    CHECK(parse({"--cut", "4"}, program).ok());
  for (const char* program :
       {"all_gather_perf", "reduce_scatter_perf", "alltoall_perf", "gather_perf", "scatter_perf"}) {
    auto refused = parse({"--cut", "4"}, program);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().detail.find(program) != std::string::npos);
  }
}

TEST_CASE("failures are read in the order in which they happen") {
  auto a = parse({"--ranks", "4", "--stop", "2@50+1.5", "--kill", "1@20", "--kill", "3@10", "--join", "60"});
  REQUIRE(a.ok());
  REQUIRE(a->is_failure_run());
  REQUIRE(a->faults.size() == 3);
  CHECK(a->faults[0].rank == 3);
  CHECK(a->faults[1].rank == 1);
  CHECK(a->faults[1].at == 20);
  CHECK_FALSE(a->faults[1].stops);
  CHECK(a->faults[2].stops);
  CHECK(a->faults[2].seconds == 1.5);
  CHECK(a->join_at == 60);
  CHECK_FALSE(parse({"--ranks", "4"})->is_failure_run());
}

TEST_CASE("failures that cannot be are refused with their name") {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{"--kill", "1@5"}, "--ranks"},
      {{"--ranks", "2", "--kill", "1"}, "--kill '1'"},
      {{"--ranks", "2", "--kill", "1@"}, "--kill"},
      {{"--ranks", "2", "--kill", "1@5+2"}, "--kill"},
      {{"--ranks", "2", "--kill", "-1@5"}, "--kill"},
      {{"--ranks", "2", "--stop", "1@5+"}, "--stop"},
      {{"--ranks", "2", "--stop", "1@5+0"}, "--stop"},
      {{"--ranks", "2", "--kill", "2@5"}, "there are 2 ranks"},
      {{"--ranks", "2", "--kill", "0@5", "--kill", "1@6"}, "no rank would be left"},
      {{"--ranks", "3", "--kill", "1@5", "--stop", "1@9"}, "twice"},
      {{"--ranks", "3", "--join", "5"}, "--join"},
      {{"--ranks", "3", "--kill", "1@5", "--join", "5"}, "--join 5"},
      {{"--ranks", "3", "--kill", "1@5", "-z", "0"}, "-z 0"},
      {{"--ranks", "3", "--kill", "1@5", "--no-commit"}, "--no-commit"},
  };
  for (const auto& [words, named] : cases) {
    auto a = parse(words);
    INFO(words.back());
    REQUIRE_FALSE(a.ok());
    CHECK(a.error().detail.find(named) != std::string::npos);
  }
}

TEST_CASE("buffers are as long as the longest row needs") {
  auto a = parse({"-b", "1000", "-e", "4000", "-i", "1000", "-u", "2"}, "all_gather_perf");
  REQUIRE(a.ok());
  const BufferBytes bytes = buffer_bytes(*find_collective("all_gather"), *a, 4, 4);
  CHECK(bytes.in == 992 + 8);
  CHECK(bytes.out == 4 * 992 + 8);
  CHECK(buffer_bytes(*find_collective("all_gather"), *a, 4, 1).in == 4000 + 8);  // one member left
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
  CHECK(a->ops.size() == 6);
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
      {{"--bogus"}, "--bogus"},
      {{"-b", "16Q"}, "-b"},
      {{"-d", "float128"}, "float128"},
      {{"-o", "xor"}, "xor"},
      {{"-n", "0"}, "--iters"},
      {{"-n", "many"}, "--iters"},
      {{"--ranks", "0"}, "--ranks"},
      {{"-z", "4"}, "--blocking"},
      {{"--transport", "ib"}, "ib"},
      {{"-b", "8", "-e", "4"}, "-e"},
      {{"-e"}, "--maxbytes"},
      {{"-b", "4", "-e", "8", "-i", "0"}, "-i"},
      {{"-g", "2"}, "--ngpus"},
      {{"-G", "1"}, "--cudagraph"},
      {{"-m", "0"}, "--agg_iters"},
      {{"--cut", "x"}, "--cut"},
      {{"--grouped"}, "--cut"},
      {{"--in-place-only", "--out-of-place-only"}, "nothing to run"},
      {{"-r", "-2"}, "-r"},
      {{"--device", "gpu"}, "--device 'gpu'"},
      {{"--device", "cuda:0", "--registered"}, "--registered"},
      {{"--device", "cuda:0", "-R", "1"}, "--registered"},
      {{"--device", "host", "--cut", "4K"}, "--cut"},
      {{"--device", "host", "--output-scratch"}, "--output-scratch"},
      {{"--threads", "0"}, "--threads"},
      {{"--threads", "2", "--ranks", "2"}, "give one of them"},
      {{"--threads", "3", "--kill", "1@5"}, "--threads"},
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
