"""What `data_pipelines.inspect` is made of: finding, sampling, counting, drawing."""
