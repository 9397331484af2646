"""What `./inv demo` and the tests need around ondeploy: a Docker engine and images to run on it."""
