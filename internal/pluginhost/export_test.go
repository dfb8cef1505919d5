package pluginhost

// Identify lets a test name a process that no host started.
var Identify = identify
