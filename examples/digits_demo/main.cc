// digits_demo: the main job. Trains a network on real digits with 4 replicas, first undisturbed, then through SIGKILLs
// inside operations, a SIGSTOP past the suspicion time, and the return of the lost; then judges both runs.
// Exit status 0 only if no step was lost, digests are equal, at least one op took two attempts, and accuracy holds.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/digits_demo/verdict.h"

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::uint64_t steps = 1000;
  std::string keep;  // folder for the histories; empty: a temporary one
  std::string transport;
  double timeout_s = 60;
};

// The live line: rewritten on a terminal, a line now and then elsewhere.
class LiveLine {
 public:
  void show(const std::string& text, bool event) {
    if (::isatty(1)) {
      std::printf("\r\033[K%s%s", text.c_str(), event ? "\n" : "");
    } else if (event || ++count_ % 20 == 0) {
      std::printf("%s\n", text.c_str());
    }
    std::fflush(stdout);
  }

 private:
  unsigned count_ = 0;
};

pid_t start(const std::vector<std::string>& args, int out) {
  std::vector<char*> argv;
  for (const std::string& a : args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::dup2(out, 1);
  ::execv(argv[0], argv.data());
  std::fprintf(stderr, "digits_demo: cannot run %s\n", argv[0]);
  ::_exit(127);
}

// Runs the launcher to its end; returns its exit status. New events of the launcher's file are shown as they come.
int run_launcher(const fs::path& bin, const fs::path& folder, const Arguments& a, const std::string& chaos, const char* title) {
  fs::create_directories(folder);
  const std::string events = (folder / "events.jsonl").string();
  std::vector<std::string> args{(bin / "regroup").string(), "run", "-n", "4", "--restart", "--events", events, "--timeout",
                                std::to_string(a.timeout_s)};
  if (!chaos.empty()) args.insert(args.end(), {"--chaos", chaos});
  if (!a.transport.empty()) args.insert(args.end(), {"--transport", a.transport});
  args.insert(args.end(), {"--", (bin / "train_digits").string(), "--steps", std::to_string(a.steps), "--history",
                           folder.string(), "--report-every", "10"});
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return 1;
  const pid_t pid = start(args, ends[1]);
  ::close(ends[1]);
  LiveLine live;
  std::ifstream seen;
  std::string buffer, last;
  for (char part[4096];;) {
    pollfd p{ends[0], POLLIN, 0};
    ::poll(&p, 1, 100);
    if (p.revents != 0) {
      const ssize_t n = ::read(ends[0], part, sizeof part);
      if (n <= 0) break;
      buffer.append(part, static_cast<std::size_t>(n));
    }
    for (std::size_t end; (end = buffer.find('\n')) != buffer.npos; buffer.erase(0, end + 1)) {
      const std::string line = buffer.substr(0, end);
      if (line.find(" step ") == line.npos || line.find(" loss ") == line.npos) continue;
      last = line.substr(line.find("step "));
      live.show(std::string(title) + "  " + last, false);
    }
    if (!seen.is_open()) seen.open(events);
    for (std::string line; std::getline(seen, line);) {
      const auto j = nlohmann::json::parse(line, nullptr, false);
      const std::string event = j.is_object() ? j.value("event", "") : "";
      if (event != "fault" && event != "restart" && event != "continue") continue;
      live.show(std::string(title) + "  " + last + "  << " + event + " of replica " + std::to_string(j.value("rank", -1)) + " " +
                    j.value("fault", ""),
                true);
    }
    seen.clear();
  }
  ::close(ends[0]);
  int status = 1;
  ::waitpid(pid, &status, 0);
  live.show(std::string(title) + "  " + last + "  end", true);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void print_table(const digits::Verdict& v, const digits::RunRecord& run) {
  std::printf("\n%-34s %s\n", "fault", "to the last survivor's next commit");
  for (std::size_t i = 0; i < run.faults.size(); ++i)
    std::printf("%-34s %.1f ms\n", run.faults[i].text.c_str(), i < v.recovery_ms.size() ? v.recovery_ms[i] : -1.0);
  std::printf("\nsteps %llu  lost %llu  kills %u (inside an op %u)  stops %u  joins %u  ops redone %u\n",
              static_cast<unsigned long long>(v.steps), static_cast<unsigned long long>(v.lost_steps), v.kills, v.kills_mid_op,
              v.stops, v.joins, v.redone);
  std::printf("longest pause for a join %.1f ms  accuracy %.4f (undisturbed %.4f)  digests %s\n", v.join_gap_ms_max, v.accuracy,
              v.reference_accuracy, v.digests_equal ? "equal" : "DIFFER");
  for (const std::string& w : v.wrong) std::printf("WRONG: %s\n", w.c_str());
}

int demo(const Arguments& a) {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path folder = a.keep.empty() ? fs::temp_directory_path() / ("regroup-demo-" + std::to_string(::getpid())) : fs::path(a.keep);
  const auto fail = [&](const std::string& why) {
    std::fprintf(stderr, "digits_demo: %s (records in %s)\n", why.c_str(), folder.c_str());
    return 1;
  };
  if (int rc = run_launcher(bin, folder / "reference", a, "", "undisturbed"); rc != 0)
    return fail("the undisturbed run ended with status " + std::to_string(rc));
  const auto step = [&](double part) { return std::to_string(static_cast<std::uint64_t>(static_cast<double>(a.steps) * part)); };
  const auto op = [&](double part) { return std::to_string(static_cast<std::uint64_t>(static_cast<double>(a.steps) * part) * 3); };
  const std::string chaos = "kill:3@failpoint:after_first_chunk#" + op(0.15) + ",kill:2@failpoint:after_prepared#" + op(0.3) +
                            ",stop:1@step:" + step(0.45) + "+2s,kill:0@step:" + step(0.85);
  if (int rc = run_launcher(bin, folder / "chaos", a, chaos, "with faults"); rc != 0)
    return fail("the run with faults ended with status " + std::to_string(rc));
  auto reference = digits::read_run((folder / "reference").string());
  auto run = digits::read_run((folder / "chaos").string());
  if (!reference.ok() || !run.ok()) return fail("no records");
  const digits::Verdict undisturbed = digits::judge(*reference, a.steps, 4, 1.0);
  const digits::Verdict v = digits::judge(*run, a.steps, 4, undisturbed.accuracy);
  print_table(v, *run);
  const nlohmann::ordered_json result{
      {"steps", v.steps}, {"lost_steps", v.lost_steps}, {"kills", v.kills}, {"kills_mid_op", v.kills_mid_op}, {"stops", v.stops},
      {"joins", v.joins},
      {"recovery_ms", {{"p50", digits::median(v.recovery_ms)},
                       {"max", v.recovery_ms.empty() ? 0 : *std::max_element(v.recovery_ms.begin(), v.recovery_ms.end())}}},
      {"join_gap_ms_max", v.join_gap_ms_max}, {"accuracy", v.accuracy}, {"reference_accuracy", v.reference_accuracy},
      {"digests_equal", v.digests_equal}};
  std::printf("RESULT %s\n", result.dump().c_str());
  if (!v.good()) return fail("the run did not keep its promises");
  if (a.keep.empty()) fs::remove_all(folder, error);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Trains on handwritten digits with 4 replicas through kills, a pause and returns; prints RESULT {json}"};
  app.add_option("--steps", a.steps)->check(CLI::Range(200, 1'000'000))->capture_default_str();
  app.add_option("--keep", a.keep, "keep the records in this folder");
  app.add_option("--transport", a.transport, "auto, shm or tcp");
  app.add_option("--timeout", a.timeout_s, "seconds for each of the two runs")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return demo(a);
}
