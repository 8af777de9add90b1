#include "bench/recovery/arguments.h"

#include <CLI/CLI.hpp>
#include <csignal>

#include "bench/arguments_check.h"
#include "bench/recovery/page.h"
#include "bench/text.h"

namespace regroup::bench {

bool RecoveryArguments::stops() const { return signal == SIGSTOP; }

Result<RecoveryArguments> parse_recovery_arguments(int argc, const char* const* argv) {
  RecoveryArguments a;
  std::string bytes = "16M", resident = "0", signal = "KILL";
  CLI::App app{"Kills members of an all-reduce loop at random moments; times the survivors' next commit.",
               "recovery_perf"};
  app.add_option("--ranks", a.ranks, "members")
      ->check(CLI::Range(2, static_cast<int>(kMaxMembers)))
      ->capture_default_str();
  app.add_option("-b,--bytes", bytes, "of the all-reduce (float, sum)")->capture_default_str();
  app.add_option("--kills", a.kills, "how often")->check(CLI::Range(1, 100'000))->capture_default_str();
  app.add_option("--sig", signal, "KILL, or STOP: stopped past the suspicion, then continued")->capture_default_str();
  app.add_option("--resident", resident, "private memory that each member touches, as a trainer has")
      ->capture_default_str();
  app.add_option("--transport", a.transport, "shm, tcp, ucx, nccl or auto")->check(CLI::IsMember({"shm", "tcp", "ucx", "nccl", "auto"}));
  app.add_option("--device", a.device, "buffers on a device that the members share: cuda:N, or host, the simulated one");
  app.add_flag("!--private", a.registered, "buffers from malloc, not from Group::allocate");
  app.add_option("--seed", a.seed, "of victims, moments and data")->capture_default_str();
  app.add_option("--hang", a.hang_s, "seconds after which a wait is a hang")->check(CLI::Range(1.0, 600.0));
  app.add_option("--json", a.json, "write JSON; an existing file gets a suffix");
  app.add_flag("--keep", a.keep, "keep logs, flight records and the times of the kills (REGROUP_LOG=info says more)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    a.help = app.help();
    return a;
  } catch (const CLI::ParseError& error) {
    return {Code::kInvalid, error.what()};
  }
  if (!a.device.empty() && (!device_named(a.device) || a.device.size() >= sizeof(Settings::device)))
    return {Code::kInvalid, "--device '" + a.device + "' is none of cuda:N, host"};
  if (!a.device.empty()) a.registered = false;
  if (signal != "KILL" && signal != "STOP") return {Code::kInvalid, "--sig '" + signal + "' is not one of KILL, STOP"};
  a.signal = signal == "KILL" ? SIGKILL : SIGSTOP;
  auto size = parse_bytes(bytes);
  if (!size.ok()) return {Code::kInvalid, "-b: " + size.error().detail};
  if (*size < sizeof(float)) return {Code::kInvalid, "-b: at least one float"};
  a.bytes = *size / sizeof(float) * sizeof(float);
  auto touched = parse_bytes(resident);
  if (!touched.ok()) return {Code::kInvalid, "--resident: " + touched.error().detail};
  a.resident = *touched;
  return a;
}

}  // namespace regroup::bench
