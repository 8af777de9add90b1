// The sub-commands of `regroup`. Each add_* registers options and a callback that sets the exit status.
#pragma once

namespace CLI {
class App;
}

namespace regroup::tools {

void add_chaos(CLI::App& app, int& status);
void add_coordinator(CLI::App& app, int& status);
void add_plan(CLI::App& app, int& status);
void add_run(CLI::App& app, int& status);
void add_status(CLI::App& app, int& status);
void add_sim(CLI::App& app, int& status);
void add_check(CLI::App& app, int& status);

}  // namespace regroup::tools
