// Checkpoints: what was written comes back, what is damaged or of others is refused and named, and nothing that was there
// is lost to a write that fails.
#include "runtime/state/checkpoint_dir.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/ft_driver/folder.h"

using namespace regroup;
using namespace regroup::state;
namespace fs = std::filesystem;

namespace {

struct Job {
  std::vector<std::uint64_t> weights = std::vector<std::uint64_t>(100'000);
  std::vector<float> bias = std::vector<float>(10);
  std::vector<StateBuffer> state() {
    return {{"weights", weights.data(), weights.size() * 8, DataType::kU64, {1000, 100}}, {"bias", bias.data(), bias.size() * 4, DataType::kF32, {10}}};
  }
  StripeTable table() {
    std::vector<Tensor> tensors;
    for (const StateBuffer& b : state()) tensors.push_back({b.name, b.type, b.shape, b.bytes});
    return StripeTable(std::move(tensors));
  }
  void fill(std::uint64_t seed) {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = seed * (i + 1);
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(seed + i);
  }
  Status write(const CheckpointDir& dir, std::uint64_t step) {
    const StripeTable t = table();
    const auto buffers = state();
    return dir.write(step, {{"cursor", {std::byte(step)}}}, [&](std::uint32_t i, std::span<std::byte> into) -> Status {
      std::memcpy(into.data(), static_cast<const std::byte*>(buffers[t[i].tensor].data) + t[i].offset, t[i].bytes);
      return {};
    });
  }
};

Result<CheckpointDir> open(const std::string& folder, Job& job, const std::string& name = "job", int rank = 0) {
  return CheckpointDir::open(folder, name, job.table(), {"cursor"}, rank);
}
std::size_t files(const std::string& folder, const std::string& begin) {
  std::size_t n = 0;
  for (const auto& e : fs::directory_iterator(folder)) n += e.path().filename().string().starts_with(begin);
  return n;
}

}  // namespace

TEST_CASE("what was written comes back, with its step and blobs; the newest counts, and the one before it is kept") {
  test::Folder folder;
  Job job;
  const auto dir = open(folder.path().string() + "/new", job);
  REQUIRE(dir.ok());
  CHECK(!dir->newest()->has_value());
  for (std::uint64_t step : {10, 20, 30}) {
    job.fill(step);
    REQUIRE(job.write(*dir, step).ok());
  }
  CHECK(files(dir->folder(), "step-") == 2);
  CHECK(files(dir->folder(), ".part") == 0);
  Job other;
  const auto again = open(dir->folder(), other);
  const auto newest = again->newest();
  REQUIRE(newest.ok());
  REQUIRE(newest->has_value());
  CHECK((*newest)->head.step == 30);
  CHECK((*newest)->head.blobs[0].bytes == std::vector<std::byte>{std::byte(30)});
  REQUIRE(again->load(**newest, other.state()).ok());
  CHECK(other.weights == job.weights);
  CHECK(other.bias == job.bias);
}

TEST_CASE("an older checkpoint never replaces a newer one, whoever writes it") {
  test::Folder folder;
  Job job;
  const auto one = open(folder.path().string(), job, "job", 0), two = open(folder.path().string(), job, "job", 1);
  REQUIRE(job.write(*one, 30).ok());
  REQUIRE(job.write(*two, 20).ok());
  CHECK((*two->newest())->head.step == 30);
}

TEST_CASE("a truncated, flipped, foreign or differently shaped checkpoint is refused with what differs, and left alone") {
  test::Folder folder;
  Job job;
  job.fill(7);
  const auto dir = open(folder.path().string(), job);
  REQUIRE(job.write(*dir, 7).ok());
  const std::string path = folder.path().string() + "/" + (*dir->newest())->name;
  const auto size = fs::file_size(path);
  const auto refused = [&](const std::string& what) {
    const auto found = dir->newest();
    CHECK(found.code() == Code::kConfig);
    CHECK_THAT(found.error().detail, Catch::Contains(what));
  };
  SECTION("truncated") {
    for (const std::uintmax_t n : {size - 1, size / 2, std::uintmax_t{30}, std::uintmax_t{0}}) {
      fs::resize_file(path, n);
      refused("truncated");
    }
  }
  SECTION("a flipped byte of a tensor: the tensor is named, and no buffer is touched") {
    const Fd file(::open(path.c_str(), O_RDWR));
    const char one = 1;
    REQUIRE(::pwrite(file.get(), &one, 1, static_cast<off_t>(size / 2)) == 1);
    Job other;
    other.fill(3);
    const Job before = other;
    const Status loaded = dir->load(**dir->newest(), other.state());
    CHECK(loaded.code() == Code::kConfig);
    CHECK_THAT(loaded.error().detail, Catch::Contains("weights"));
    CHECK(other.weights == before.weights);
  }
  SECTION("of another job") {
    CHECK_THAT(open(folder.path().string(), job, "another")->newest().error().detail, Catch::Contains("'job'") && Catch::Contains("'another'"));
    CHECK(!job.write(*open(folder.path().string(), job, "another"), 9).ok());
    CHECK((*dir->newest())->head.step == 7);
  }
  SECTION("other shapes and names") {
    auto shapes = job.table().tensors();
    shapes[0].shape = {100, 1000};
    shapes[1].name = "offset";
    const auto found = CheckpointDir::open(folder.path().string(), "job", StripeTable(shapes), {"cursor"}, 0)->newest();
    CHECK_THAT(found.error().detail, Catch::Contains("weights") && Catch::Contains("offset") && Catch::Contains("bias"));
  }
  SECTION("other blobs") {
    CHECK_THAT(CheckpointDir::open(folder.path().string(), "job", job.table(), {"rng"}, 0)->newest().error().detail, Catch::Contains("rng"));
  }
  SECTION("latest names no checkpoint, or one that is gone") {
    std::ofstream(folder.path().string() + "/latest") << "../../etc/passwd\n";
    refused("latest names no checkpoint");
    std::ofstream(folder.path().string() + "/latest") << "step-00000000000000000008.ckpt\n";
    refused("step-00000000000000000008.ckpt");
  }
}

TEST_CASE("a folder that cannot be written is refused, and a write that fails half-way leaves the last checkpoint") {
  Job job;
  CHECK_THAT(open("/proc/self", job).error().detail, Catch::Contains("/proc/self") && Catch::Contains("cannot be written"));
  test::Folder folder;
  std::ofstream(folder.path().string() + "/file") << "x";
  CHECK(open(folder.path().string() + "/file", job).code() == Code::kConfig);
  const auto dir = open(folder.path().string(), job);
  REQUIRE(job.write(*dir, 7).ok());
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit full = before;
  full.rlim_cur = 500'000;  // as a full disk: the file cannot grow any more
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &full);
  const Status written = job.write(*dir, 8);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(written.code() == Code::kSystem);
  CHECK((*dir->newest())->head.step == 7);
  CHECK(files(folder.path().string(), ".part") == 0);
  CHECK(files(folder.path().string(), "step-") == 1);
}

TEST_CASE("what an earlier life left half-written is removed, and others' is not") {
  test::Folder folder;
  Job job;
  for (const char* name : {"/.part-0-123", "/.part-1-77", "/.part-0-123-latest"}) std::ofstream(folder.path().string() + name) << "x";
  REQUIRE(open(folder.path().string(), job).ok());
  CHECK(files(folder.path().string(), ".part-0") == 0);
  CHECK(files(folder.path().string(), ".part-1") == 1);
}
