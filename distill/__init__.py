"""Image-to-LiDAR relational distillation: teacher, student, losses, training, evaluation and the simulated street."""
